"""A real HTTP server that speaks the OpenAI protocol and, on request, misbehaves: the counterpart of the tests.

``python tests/llm/server.py --port 0 --latency 0.2 --faults 0.3 --log events.jsonl`` prints its address and serves
``POST /v1/chat/completions``, ``GET /v1/models`` and ``GET /stats`` until it is stopped. Which request is met by which
fault follows from the question and the number of the attempt alone. A JSON schema is checked as OpenAI does, and kept.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import strict_schema

# An answer comes, but not now or not whole: the client asks again.
RETRYABLE = (
    "rate_limit",
    "rate_limit_ms",
    "rate_limit_date",
    "server_error",
    "unavailable",
    "drop_before",
    "drop_midway",
    "hang",
    "truncated",
    "no_choices",
    "garbage",
)
# A complete answer comes that is not what was hoped for: not the client's business.
ODD = ("empty", "null", "invented", "slow", "no_usage", "length")
# Asking again is of no use.
FATAL = ("unauthorized", "forbidden", "payment", "quota", "unknown_model", "bad_request", "echo_key")
OTHER = ("echo_key_500", "long_wait")


# ---------------------------------------------------------------- what it answers


def offered(messages: list[dict[str, str]]) -> list[str]:
    """The symbols of the line with the most commas, without a heading that ends in a colon."""
    lines = "\n".join(message["content"] for message in messages).splitlines()
    line = max(lines, key=lambda text: text.count(","), default="")
    return re.findall(r"[\w.\-]+", line.rsplit(":", 1)[-1])


def pick(messages: list[dict[str, str]], k: int) -> str:
    """``k`` of the offered symbols, chosen by the hash of the symbol and the whole question."""
    question = json.dumps(messages)
    chosen = sorted(set(offered(messages)), key=lambda symbol: digest(symbol + question))[:k]
    return f"I thought about it.\n<Answer> [{', '.join(chosen)}] </Answer>"


def first(messages: list[dict[str, str]], k: int) -> str:
    """The first ``k`` offered symbols."""
    return f"<Answer> [{', '.join(offered(messages)[:k])}] </Answer>"


def echo(messages: list[dict[str, str]], k: int) -> str:
    """The last message."""
    return messages[-1]["content"]


def known(messages: list[dict[str, str]], k: int, edges: dict[str, list[str]]) -> str:
    """The regulators of the target that ``edges`` has by its name, and as many picked ones as are missing.

    The target is the last word outside the candidates that has edges, as the description, which comes first, may name
    others, too. One without known edges gets picked regulators alone.
    """
    candidates = offered(messages)
    words = re.findall(r"[\w.\-]+", " ".join(message["content"] for message in messages))
    named = [word for word in words if word in edges and word not in candidates]
    target = named[-1] if named else None
    picked = re.search(r"\[(.*)\]", pick(messages, len(candidates)))[1].split(", ")
    ranked = [tf for tf in edges.get(target, ()) if tf in candidates] + picked
    return f"<Answer> [{', '.join(list(dict.fromkeys(ranked))[:k])}] </Answer>"


def signed(messages: list[dict[str, str]], k: int) -> str:
    """The first ``k`` offered symbols, with signs: +, -, ?, and again; without, if none are asked for."""
    marks = "+-?" if "A+" in messages[-1]["content"] else " "
    names = [f"{name}{marks[i % len(marks)]}" for i, name in enumerate(offered(messages)[:k])]
    return f"I thought about it.\n<Answer> [{', '.join(names)}] </Answer>"


BRAINS = {"pick": pick, "first": first, "echo": echo, "known": known, "signed": signed}


# ---------------------------------------------------------------- how it misbehaves


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Faults:
    """Which attempts at a question go wrong: kinds, the share of attempts, and from which attempt on all is well."""

    kinds: tuple[str, ...] = ()
    share: float = 1.0
    clean_after: int = 1_000_000

    @classmethod
    def parse(cls, text: str, clean_after: int) -> Faults:
        """From ``0.3`` (a share, all retryable kinds), ``hang,quota`` (always) or ``hang,truncated@0.5``."""
        if re.fullmatch(r"[\d.]+", text):
            return cls(RETRYABLE, float(text), clean_after)
        names, _, share = text.partition("@")
        kinds = tuple(name for name in names.split(",") if name)
        unknown = set(kinds) - {*RETRYABLE, *ODD, *FATAL, *OTHER}
        if unknown:
            raise SystemExit(f"--faults: unknown {sorted(unknown)}")
        return cls(kinds, float(share or 1), clean_after)

    def of(self, question: str, attempt: int) -> str | None:
        if not self.kinds or attempt >= self.clean_after:
            return None
        draw = int(digest(f"{question}/{attempt}"), 16)
        return self.kinds[draw % len(self.kinds)] if draw // 1000 % 10_000 < self.share * 10_000 else None


@dataclass
class Server:
    """State and behaviour of the server; ``serve`` handles one connection."""

    options: argparse.Namespace
    faults: Faults
    attempts: Counter[str] = field(default_factory=Counter)
    successes: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    active: int = 0
    most_active: int = 0

    def __post_init__(self) -> None:
        if self.options.log:
            Path(self.options.log).touch()

    def note(self, question: str, attempt: int, action: str, success: bool) -> None:
        self.actions[action] += 1
        self.successes[question] += success
        if self.options.log:
            event = {"time": time.time(), "question": question, "attempt": attempt, "did": action, "success": success}
            with Path(self.options.log).open("a") as log:
                log.write(json.dumps(event) + "\n")

    @property
    def stats(self) -> dict[str, object]:
        return {
            "requests": sum(self.attempts.values()),
            "questions": len(self.attempts),
            "successes": sum(self.successes.values()),
            "most_successes_of_a_question": max(self.successes.values(), default=0),
            "most_at_once": self.most_active,
            "did": dict(self.actions),
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                method, path, _ = request.split(" ", 2)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.active += 1
                self.most_active = max(self.most_active, self.active)
                try:
                    if not await self.respond(method, path, headers, body, reader, writer):
                        break
                finally:
                    self.active -= 1
        writer.close()

    async def respond(self, method, path, headers, body, reader, writer) -> bool:
        """Answer one request; False ends the connection."""
        if (method, path) == ("GET", "/stats"):
            return await send(writer, 200, self.stats)
        if (method, path) == ("GET", "/v1/models"):
            return await send(writer, 200, {"object": "list", "data": [{"id": "test-model", "object": "model"}]})
        if (method, path) != ("POST", "/v1/chat/completions"):
            return await send(writer, 404, error("no such path"))
        asked = json.loads(body)
        question = digest(json.dumps([asked["messages"], asked.get("seed")]))[:16]
        attempt = self.attempts[question]
        self.attempts[question] += 1
        first = next(iter(self.attempts)) == question
        fault = None if first and self.options.clean_first else self.faults.of(question, attempt)
        if fault in ("drop_before", "hang"):
            self.note(question, attempt, fault, False)
            if fault == "hang":
                await reader.read()  # until the client gives up
            return False
        await asyncio.sleep(self.options.latency * (5 if fault == "slow" else 1))
        if reader.at_eof():
            self.note(question, attempt, "client_gone", False)
            return False
        refusal = self.refusal(fault, headers)
        if refusal:
            self.note(question, attempt, fault, False)
            return await send(writer, *refusal)
        if "response_format" in asked and (wrong := strict_schema.problem(asked["response_format"])):
            self.note(question, attempt, "schema_refused", False)
            return await send(writer, 400, error(f"Invalid schema for response_format: {wrong}"))
        answer = self.completion(asked, fault)
        if fault in ("drop_midway", "truncated", "no_choices", "garbage"):
            self.note(question, attempt, fault, False)
            return await send_damaged(writer, fault, answer)
        # Noted only when it has left: what is noted as a success was sent whole.
        await send(writer, 200, answer)
        self.note(question, attempt, fault or "answer", True)
        return True

    def refusal(self, fault: str | None, headers: dict[str, str]) -> tuple[int, dict, dict[str, str]] | None:
        """Status, body and headers of an answer that is an error."""
        wait = self.options.retry_after
        rate = error("Rate limit reached for test-model", "rate_limit_exceeded")
        leak = error(f"cannot read the request with authorization {headers.get('authorization')}", "bad_request")
        return {
            "rate_limit": (429, rate, {"Retry-After": f"{wait:g}"}),
            "rate_limit_ms": (429, rate, {"Retry-After-Ms": f"{1000 * wait:g}"}),
            # An HTTP date has whole seconds only: one more, or the wait could be over before it began.
            "rate_limit_date": (429, rate, {"Retry-After": formatdate(time.time() + wait + 1, usegmt=True)}),
            "long_wait": (429, rate, {"Retry-After": "86400"}),
            "server_error": (500, error("The server had an error"), {}),
            "unavailable": (503, error("Overloaded"), {}),
            "unauthorized": (401, error("Incorrect API key provided", "invalid_api_key"), {}),
            "forbidden": (403, error("Country not supported"), {}),
            "payment": (402, error("Credit limit exceeded"), {}),
            "quota": (429, error("You exceeded your current quota", "insufficient_quota"), {"Retry-After": "1"}),
            "unknown_model": (404, error("The model does not exist", "model_not_found"), {}),
            "bad_request": (400, error("max_tokens is too large:\n" + "too large " * 100), {}),
            "echo_key": (400, leak, {"X-Debug": headers.get("authorization", "")}),
            "echo_key_500": (500, leak, {"X-Debug": headers.get("authorization", "")}),
        }.get(fault or "")

    def completion(self, asked: dict, fault: str | None) -> dict:
        if "response_format" in asked:
            text = strict_schema.instance(asked["response_format"], self.options.k)
        else:
            more = [json.loads(Path(self.options.edges).read_text())] if self.options.brain == "known" else []
            text = BRAINS[self.options.brain](asked["messages"], self.options.k, *more)
        if fault == "invented":
            text = text.replace("[", "[NOTAGENE1, ").replace("]", ", NOTAGENE2]")
        content = {"empty": "", "null": None}.get(fault or "", text)
        words = sum(len(message["content"].split()) for message in asked["messages"]), len(text.split())
        answer = {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "length" if fault == "length" else "stop",
                }
            ],
        }
        if fault != "no_usage":
            answer["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), words, strict=True))
        return answer


def error(message: str, code: str | None = None) -> dict:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


def encode(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + body


async def send(writer: asyncio.StreamWriter, status: int, body: dict, headers: dict[str, str] | None = None) -> bool:
    writer.write(encode(status, json.dumps(body).encode(), headers))
    await writer.drain()
    return True


async def send_damaged(writer: asyncio.StreamWriter, fault: str, answer: dict) -> bool:
    """Half a body, half a JSON text in a whole body, JSON without an answer, or no JSON. False if it hangs up."""
    body = json.dumps(answer).encode()
    if fault == "drop_midway":
        writer.write(encode(200, body)[: -len(body) // 2])
    elif fault == "truncated":
        writer.write(encode(200, body[: len(body) // 2]))
    elif fault == "garbage":
        writer.write(encode(200, b"<html>Bad gateway</html>"))
    else:
        writer.write(encode(200, json.dumps({**answer, "choices": []}).encode()))
    await writer.drain()
    return fault != "drop_midway"


# ---------------------------------------------------------------- how it is started


async def main(options: argparse.Namespace) -> None:
    server = Server(options, Faults.parse(options.faults, options.clean_after))
    listener = await asyncio.start_server(server.serve, "127.0.0.1", options.port, backlog=512)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", flush=True)
    if options.until_stdin_closes:
        # So that no server outlives tests that were killed.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    else:
        await asyncio.Event().wait()


@dataclass(frozen=True)
class RunningServer:
    """A server in its own process."""

    url: str
    log: Path

    def stats(self) -> dict:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=10) as answer:
            return json.load(answer)

    def events(self) -> list[dict]:
        """One for each request. An answer is noted after it was sent, and another request is answered after that."""
        with suppress(OSError):  # the server may have ended
            self.stats()
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def successes(self) -> Counter[str]:
        """Complete answers sent, by question."""
        return Counter(event["question"] for event in self.events() if event["success"])


@contextmanager
def running_server(log: str | Path | None = None, **options: object) -> Iterator[RunningServer]:
    """Start the server with these options (``latency=0.2`` is ``--latency 0.2``), stop it at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(log or Path(folder) / "events.jsonl")
        flags = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
        command = [sys.executable, __file__, "--until-stdin-closes", "--log", str(log), *flags]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"the server did not start: {command}")
            yield RunningServer(url, log)
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--faults", default="", help="a share (0.3), or kinds (hang,quota), or both (hang,empty@0.5)")
    parser.add_argument("--clean-after", type=int, default=1_000_000, help="no fault from this attempt on, from 0")
    parser.add_argument("--clean-first", type=int, default=0, help="1: no fault at the first question")
    parser.add_argument("--retry-after", type=float, default=0.1, help="seconds that a 429 asks to wait")
    parser.add_argument("--brain", choices=BRAINS, default="pick", help="what it answers")
    parser.add_argument("--edges", help="JSON file with the regulators of each target, for --brain known")
    parser.add_argument("--k", type=int, default=10, help="symbols per answer")
    parser.add_argument("--log", help="file to append one JSON line per request to")
    parser.add_argument("--until-stdin-closes", action="store_true")
    asyncio.run(main(parser.parse_args()))
