"""A real HTTP server in a thread of the test, whose answers a test writes down as a function."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Callable[[dict[str, Any], int], Any]


def said(text: str = "<Answer> [GATA1, SPI1] </Answer>", finish_reason: str = "stop", usage=None, **message) -> dict:
    """A completion."""
    usage = {"prompt_tokens": 50, "completion_tokens": 100} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    return {"model": "served-model", "choices": [choice], "usage": usage}


def refused(message: str, status: int = 400, **more) -> tuple[int, dict]:
    """An error in the form of OpenAI."""
    return status, {"error": {"message": message, "type": "invalid_request_error", **more}}


@dataclass
class Endpoint:
    """What a running endpoint was asked, and the batches that it holds.

    ``answer(body, n)`` returns the body of the answer to the ``n``-th attempt at a question (from 0), or a status and a
    body, which may be a text; ``"drop"`` breaks the connection and ``"hang"`` answers too late.
    """

    answer: Answer
    url: str = ""
    bodies: list[dict] = field(default_factory=list)
    heads: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    filenames: dict[str, str] = field(default_factory=dict)
    with_metadata: bool = True  # False: a server that keeps none
    batches: dict[str, dict] = field(default_factory=dict)
    polls_until_done: int = 2
    hang: float = 3.0
    certificate: tuple[Path, Path] | None = None  # and its key: then it speaks https
    lock: threading.Lock = field(default_factory=threading.Lock)

    def outcome(self, body: dict) -> Any:
        asked = json.dumps(body["messages"])
        with self.lock:
            n = self.attempts[asked] = self.attempts.get(asked, -1) + 1
            self.bodies.append(body)
        return self.answer(body, n)

    # -- the Batch API

    def upload(self, raw: bytes) -> dict:
        called, content = re.search(rb'filename="([^"]*)".*?\r\n\r\n(.*?)\r\n--', raw, re.S).groups()
        return self.store(content.decode(), called.decode())

    def store(self, content: str, filename: str = "f") -> dict:
        name = f"file-{len(self.files)}"
        self.files[name], self.filenames[name] = content, filename
        return self.file(name)

    def file(self, name: str) -> dict:
        size, filename = len(self.files[name]), self.filenames[name]
        form = {"object": "file", "created_at": 0, "purpose": "batch"}
        return {"id": name, "bytes": size, "filename": filename, **form}

    def create(self, asked: dict) -> dict:
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"],
            "created_at": 0,
            "status": "in_progress",
            "metadata": asked.get("metadata") if self.with_metadata else None,
            "polls": 0,
        }
        return self.batches[name]

    def poll(self, name: str) -> dict:
        batch = self.batches[name]
        batch["polls"] += 1
        if batch["status"] == "in_progress" and batch["polls"] >= self.polls_until_done:
            self.work(batch)
        return batch

    def work(self, batch: dict) -> None:
        answers, errors = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            asked = json.loads(line)
            outcome = self.outcome(asked["body"])
            status, body = outcome if isinstance(outcome, tuple) else (200, outcome)
            record = {"id": "r", "custom_id": asked["custom_id"], "response": {"status_code": status, "body": body}}
            (answers if status == 200 else errors).append(json.dumps(record))
        batch["status"] = "completed"
        if answers:
            batch["output_file_id"] = self.store("\n".join(answers))["id"]
        if errors:
            batch["error_file_id"] = self.store("\n".join(errors))["id"]
        batch["request_counts"] = {"total": len(answers + errors), "completed": len(answers), "failed": len(errors)}


@contextmanager
def endpoint(answer: Answer = lambda body, n: said(), **options) -> Iterator[Endpoint]:
    """Serve until the end of the block."""
    state = Endpoint(answer, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            state.heads.append((self.path, dict(self.headers)))
            path = self.path.partition("?")[0]
            if path.endswith("/files"):
                return self.reply(200, state.upload(raw))
            if path.endswith("/batches"):
                return self.reply(200, state.create(json.loads(raw)))
            outcome = state.outcome(json.loads(raw))
            if outcome == "hang":
                time.sleep(state.hang)
            if outcome in ("hang", "drop"):
                self.close_connection = True
                return None
            return self.reply(*outcome) if isinstance(outcome, tuple) else self.reply(200, outcome)

        def do_GET(self):
            path = self.path.partition("?")[0]
            if (match := re.fullmatch(r".*/batches/([^/]+)", path)) and match[1] in state.batches:
                return self.reply(200, state.poll(match[1]))
            if path.endswith("/batches"):
                return self.reply(200, {"object": "list", "data": [*state.batches.values()], "has_more": False})
            if match := re.fullmatch(r".*/files/([^/]+)/content", path):
                if match[1] not in state.files:
                    return self.reply(404, {"error": {"message": "no such file"}})
                return self.reply(200, state.files[match[1]])
            if path.endswith("/files"):
                listed = [state.file(name) for name in state.files]
                return self.reply(200, {"object": "list", "data": listed, "has_more": False})
            return self.reply(404, {"error": {"message": "no such path"}})

        def reply(self, status, body, headers=()):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "text/html" if body.startswith(b"<") else "application/json",
                "Content-Length": len(body),
                **dict(headers),
            }.items():
                self.send_header(name, str(value))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_):
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if state.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*state.certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.url = f"http{'s' * bool(state.certificate)}://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
