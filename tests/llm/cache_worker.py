"""A process of its own for the tests of the answer cache: ``python cache_worker.py JOB CACHE LOG NUMBER``.

It waits for the file ``LOG.go``, so that several begin at once. ``LOG`` is appended to line by line, each in one write,
so that the lines of many processes neither mix nor get lost.
"""

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.messages import Reply, Request


def request(number: int) -> Request:
    messages = [{"role": "system", "content": "You are a biologist."}, {"role": "user", "content": f"Gene {number}?"}]
    return Request("gpt-4", messages, {"temperature": 0.0, "stop": ["</Answer>"]})


def reply(number: int) -> Reply:
    return Reply(f"<Answer> [GENE{number}] </Answer>" + "x" * (number % 7) * 1000, 100, number, 0.25, "stop", 0.001)


def log(path: str, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def start(job: str, cache: Path, log: Path, *numbers: int) -> list[subprocess.Popen]:
    """One process per number, which all begin when all are there; each is told how many they are."""
    go = Path(f"{log}.go")
    go.unlink(missing_ok=True)
    command = [sys.executable, __file__, job, cache, log]
    processes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE) for number in numbers]
    for process in processes:
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
    written = go.with_suffix(".written")
    written.write_text(str(len(numbers)))
    written.rename(go)
    return processes


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"


def lines(path: Path, at_least: int = 0) -> list[str]:
    """The whole lines of a log, once there are enough."""
    deadline = time.monotonic() + 30
    while True:
        found = path.read_text().split("\n")[:-1] if path.exists() else []
        if len(found) >= at_least:
            return found
        assert time.monotonic() < deadline, f"{path}: only {len(found)} of {at_least} lines"
        time.sleep(0.005)


def begin(path: str) -> int:
    """Wait for the others; returns how many processes there are."""
    print("ready", flush=True)
    go = Path(f"{path}.go")
    while not go.exists():
        time.sleep(0.001)
    return int(go.read_text())


def hammer(cache: str, path: str, number: int) -> None:
    """Ask ``number`` questions in an order of its own, 16 at a time; log each that is really asked, and by whom.

    Nobody is answered before every process asks something: none comes too late for there to be a race.
    """
    order = random.sample(range(number), number)
    n_processes = 0

    async def ask(question: Request) -> Reply:
        asked = int(question.messages[1]["content"][5:-1])
        log(path, f"{asked} {os.getpid()}")
        while len({line.split()[1] for line in lines(Path(path))}) < n_processes:
            await asyncio.sleep(0.005)
        await asyncio.sleep(random.uniform(0, 0.01))
        return reply(asked)

    async def work(answers: AnswerCache) -> None:
        while order:
            wanted = order.pop()
            assert await answers.get_or_ask(request(wanted), ask) == reply(wanted)

    async def main() -> None:
        nonlocal n_processes
        with AnswerCache(cache) as answers:
            n_processes = begin(path)
            async with asyncio.TaskGroup() as group:
                for _ in range(16):
                    group.create_task(work(answers))

    asyncio.run(main())


def claim(cache: str, path: str, number: int) -> None:
    """Claim ten questions from ``number`` on and hold them."""
    with AnswerCache(cache) as answers:
        begin(path)
        for i in range(number, number + 10):
            log(path, f"{i} {answers.claim(request(i))}")
        time.sleep(60)


def put(cache: str, path: str, number: int) -> None:
    """Put answers from ``number`` on until killed; log each that is acknowledged."""
    with AnswerCache(cache) as answers:
        begin(path)
        for i in range(number, number + 100_000):
            answers.claim(request(i))
            answers.put(request(i), reply(i))
            log(path, str(i))


def fill(cache: str, path: str, number: int) -> None:
    """Put answers until no file of this process may grow beyond ``number`` bytes; log the answers, then the error."""
    with AnswerCache(cache) as answers:
        begin(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
        try:
            for i in range(100_000):
                answers.put(request(i), reply(i))
                log(path, str(i))
        except UserError as error:
            log(path, str(error))


def open_and_close(cache: str, path: str, number: int) -> None:
    """Open the cache ``number`` times, each time for one answer."""
    begin(path)
    for _ in range(number):
        with AnswerCache(cache) as answers:
            answers.put(request(os.getpid()), reply(1))


JOBS = {job.__name__: job for job in (hammer, claim, put, fill, open_and_close)}

if __name__ == "__main__":
    job, cache_path, log_path, count = sys.argv[1:]
    JOBS[job](cache_path, log_path, int(count))
