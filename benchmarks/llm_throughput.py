"""Speed of an interview compared with the ideal: 1000 questions, 32 at once, to a server that takes 200 ms for each.

    python -m benchmarks.llm_throughput

The time includes prompts, requests, and parsing and storing the answers; the interview is then repeated from the stored
answers. The server runs in a process of its own (``tests/llm/server.py``) and only waits. The last line is JSON:
seconds of both, the ratio of the first to 1000/32 x 0.2 s, and CPU milliseconds per question.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from llm4grn.inference.llm import LLMInferer
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "llm"))
from server import running_server

TFS = [f"TF{i}" for i in range(75)]
BOUND, BOUND_AGAIN = 1.25, 2.0


def ask(url: str, cache: Path, n: int, at_once: int) -> tuple[float, float]:
    """Return seconds and CPU seconds for the questions about ``n`` targets."""
    chat = OpenAIChat(url, None, max_concurrency=at_once)
    inferer = LLMInferer(LanguageModel("test", "test-model", chat, cache=str(cache)), context="Blood cells.")
    questions = inferer.questions([f"TARGET{i}" for i in range(n)], TFS, seed=0)
    begin, cpu = time.perf_counter(), time.process_time()
    interviews = inferer.llm.interview(questions, "asking")
    if not all(interview.usable for interview in interviews):
        sys.exit("an answer could not be used")
    return time.perf_counter() - begin, time.process_time() - cpu


def main(n: int, at_once: int, latency: float) -> None:
    with tempfile.TemporaryDirectory() as folder, running_server(latency=latency) as server:
        cache = Path(folder) / "answers.sqlite"
        ask(server.url, Path(folder) / "warm-up.sqlite", 1, 1)  # loads the imports
        seconds, cpu = ask(server.url, cache, n, at_once)
        again, _ = ask(server.url, cache, n, at_once)
        stats = server.stats()
    ideal = n / at_once * latency
    summary = {
        "benchmark": "llm_throughput",
        "questions": n,
        "at_once": at_once,
        "latency": latency,
        "seconds": round(seconds, 2),
        "ideal": ideal,
        "ratio": round(seconds / ideal, 3),
        "seconds_again": round(again, 2),
        "cpu_ms_per_question": round(1000 * cpu / n, 2),
        "each_asked_once": stats["successes"] == n + 1,
    }
    print(json.dumps(summary))
    if summary["ratio"] > BOUND or again > BOUND_AGAIN or not summary["each_asked_once"]:
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.2)
    arguments = parser.parse_args()
    main(arguments.questions, arguments.at_once, arguments.latency)
