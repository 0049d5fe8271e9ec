"""Is an answer lost or paid for twice? 1000 questions to a faulty server, from a process that is often killed.

    python -m benchmarks.llm_reliability

The server (``tests/llm/server.py``, a process of its own) answers three requests in ten with 429, 500, 503, dropped
connections, time-outs or truncated JSON, or with empty answers or invented genes, which are asked again. The client is
killed with SIGKILL at random moments and restarted until it ends. The last line is JSON, with the numbers of questions
with a usable answer, of stored answers, and of questions that the server answered twice, which can only be questions in
flight when the client was killed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llm4grn.inference.llm import LLMInferer
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "llm"))
from server import RETRYABLE, running_server

TFS = [f"TF{i}" for i in range(75)]
AT_ONCE = 32
FAULTS = ",".join([*RETRYABLE, "empty", "invented"]) + "@0.3"


def client(url: str, cache: str, n: int) -> None:
    """Run the interview about ``n`` targets, the process to be killed."""
    chat = OpenAIChat(url, None, timeout=2, max_retries=20, max_concurrency=AT_ONCE, backoff=0.1)
    inferer = LLMInferer(LanguageModel("test", "test-model", chat, cache=cache, max_repairs=5))
    questions = inferer.questions([f"TARGET{i}" for i in range(n)], TFS, seed=0)
    usable = sum(interview.usable for interview in inferer.llm.interview(questions, "asking"))
    print(json.dumps({"questions": len(questions), "usable": usable}))


def main(n: int, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(latency=0.05, faults=FAULTS, retry_after=0.2) as server,
    ):
        cache = Path(folder) / "answers.sqlite"
        command = [sys.executable, "-m", "benchmarks.llm_reliability", "--client", server.url, str(cache)]
        command += ["--questions", str(n)]
        begin, killed = time.perf_counter(), []
        while True:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            try:
                out, _ = process.communicate(timeout=draw.uniform(1.5, 6) if len(killed) < kills else None)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                with AnswerCache(cache) as answers:
                    killed.append(answers.summary()["answers"])
        if process.returncode:
            sys.exit("the client ended with an error")
        with AnswerCache(cache) as answers:
            stored = answers.summary()["answers"]
        successes = server.successes()
        stats = server.stats()
    done = json.loads(out)
    twice = sum(count > 1 for count in successes.values())
    summary = {
        "benchmark": "llm_reliability",
        "questions": done["questions"],
        "with_usable_answer": done["usable"],
        "requests_with_stored_answer": stored,
        "requests_answered_by_server": len(successes),
        "answered_twice": twice,
        "kills": len(killed),
        "stored_at_each_kill": killed,
        "at_most_on_the_way_at_kills": len(killed) * AT_ONCE,
        "requests": stats["requests"],
        "seconds": round(time.perf_counter() - begin, 1),
    }
    print(json.dumps(summary))
    whole = done["usable"] == n and stored == len(successes) and twice <= len(killed) * AT_ONCE
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--client", nargs=2, metavar=("URL", "CACHE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        client(*arguments.client, arguments.questions)
    else:
        main(arguments.questions, arguments.kills, arguments.seed)
