"""A chat model that replays recorded answers, without model, network or cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.jsonl import read_jsonl
from llm4grn.llm.messages import ChatModel, Ledger, Reply, Request
from llm4grn.validation import FilePath, check_fields


@dataclass
class RecordedChat(ChatModel):
    """Answers from a JSON Lines file (see `llm4grn.llm.answers_cache.jsonl.read_jsonl`).

    A question is identified by its messages and its sample, regardless of the model and parameters of the recording.
    The first of several answers to the same question is used.

    Parameters
    ----------
    path
        JSON Lines file. It is read on construction, so that an invalid file is reported before any work is done.

    Raises
    ------
    UserError
        If the file cannot be read, or a question is not in it.
    """

    path: FilePath = field(compare=False)  # the key holds the file's content, see fingerprint

    def __post_init__(self) -> None:
        check_fields(self, "llm")
        _ = self._replies

    @cached_property
    def _replies(self) -> Mapping[str, Reply]:
        replies: dict[str, Reply] = {}
        for request, reply, _ in read_jsonl(self.path):
            replies.setdefault(_question(request), reply)
        if not replies:
            raise UserError(f"llm.path={self.path}: no answer in it")
        return replies

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the file."""
        return {"sha256": hashlib.sha256(Path(self.path).read_bytes()).hexdigest()}

    @property
    def recording(self) -> str:
        """Name of the file."""
        return Path(self.path).name

    def has(self, request: Request) -> bool:
        """Return True if the answer is in the file."""
        return _question(request) in self._replies

    def answer(self, request: Request) -> Reply:
        """Return the recorded answer.

        Raises
        ------
        UserError
            If there is no recorded answer.
        """
        reply = self._replies.get(_question(request))
        if reply is None:
            raise UserError(self._refusal(request))
        return reply

    async def complete(self, request: Request, ledger: Ledger | None = None) -> Reply:
        return self.answer(request)

    def _refusal(self, request: Request) -> str:
        asked = [message["content"] for message in request.messages if message["role"] == "user"]
        return (
            f"llm.path={self.path}: no answer to this question (sample {request.sample}) is recorded in it; record "
            f"one with another llm= and add it: {json.dumps(asked[-1] if asked else '', ensure_ascii=False)}"
        )


def _question(request: Request) -> str:
    messages = [dict(message) for message in request.messages]
    return json.dumps([messages, request.sample], sort_keys=True)
