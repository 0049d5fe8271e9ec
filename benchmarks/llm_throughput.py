"""How fast is the client: 1000 questions to a server that takes 200 ms for each, 32 at once, against the ideal.

    python -m benchmarks.llm_throughput

The server runs in a process of its own (``tests/llm/server.py``) and does nothing but wait. The last line is JSON:
seconds, their ratio to 1000/32 x 0.2 s, and the milliseconds of CPU that the client spends per question.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from llm4grn.llm.chat import OpenAIChat
from llm4grn.llm.messages import Request

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "llm"))
from server import running_server

GENES = ", ".join(f"GENE{i}" for i in range(100))
BOUND = 1.25


def request(i: int) -> Request:
    """One question of the usual length."""
    content = f"Which 10 of these transcription factors regulate TARGET{i}?\nFactors: {GENES}"
    return Request("test-model", [{"role": "user", "content": content}], {"temperature": 0, "max_tokens": 1500})


async def ask(url: str, n: int, at_once: int) -> tuple[float, float]:
    """Seconds and seconds of CPU for ``n`` questions, after one that opens the client."""
    async with OpenAIChat(url, None, max_concurrency=at_once) as chat:
        await chat.complete(request(-1))
        begin, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(chat.complete(request(i)) for i in range(n)))
        return time.perf_counter() - begin, time.process_time() - cpu


def main(n: int, at_once: int, latency: float) -> None:
    with running_server(latency=latency) as server:
        seconds, cpu = asyncio.run(ask(server.url, n, at_once))
        stats = server.stats()
    ideal = n / at_once * latency
    summary = {
        "benchmark": "llm_throughput",
        "questions": n,
        "at_once": at_once,
        "latency": latency,
        "seconds": round(seconds, 3),
        "ideal": ideal,
        "ratio": round(seconds / ideal, 3),
        "cpu_ms_per_question": round(1000 * cpu / n, 2),
        "each_answered_once": stats["successes"] == n + 1 and stats["most_successes_of_a_question"] == 1,
        "most_at_once": stats["most_at_once"],
    }
    print(json.dumps(summary))
    if summary["ratio"] > BOUND or not summary["each_answered_once"]:
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.2)
    arguments = parser.parse_args()
    main(arguments.questions, arguments.at_once, arguments.latency)
