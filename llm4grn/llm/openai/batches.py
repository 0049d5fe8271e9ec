"""The Batch API of OpenAI, which other servers speak too: questions in a file, answers in a file within a day."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from llm4grn.errors import UserError
from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.openai.chat import OpenAIChat, expectation
from llm4grn.llm.openai.failures import Failure

if TYPE_CHECKING:
    from openai.types import Batch

#: Limits of one batch at OpenAI, with some room for its bytes.
MOST_QUESTIONS, MOST_BYTES = 50_000, 150_000_000
_TOKEN = "llm4grn"  # name of our token in the metadata of a batch
_ENDED = {"completed", "failed", "expired", "cancelled"}
_SECONDS = 600.0  # for a file on its way

Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchState:
    """What a server says about a batch.

    Parameters
    ----------
    status
        The server's word: ``validating``, ``in_progress``, ``completed``, ``failed``, ``expired``, ``cancelled`` ...
    n_done
        Number of questions that are answered or have failed.
    files
        Names of the files with answers and with errors.
    problem
        Why the batch has failed; empty if it has not.
    """

    status: str
    n_done: int
    files: tuple[str, ...]
    problem: str

    @property
    def has_ended(self) -> bool:
        """Whether no more answers will come."""
        return self.status in _ENDED


class Gone(UserError):
    """The server does not know a batch or a file any more."""


class Batches:
    """The batches of an opened chat model; errors are repeated and reported as those of its questions."""

    def __init__(self, chat: OpenAIChat) -> None:
        self._chat = chat

    async def submit(self, requests: Iterable[Request], token: str) -> str:
        """Submit a batch whose metadata hold ``token``; return the server's name for it."""
        lines = [self.line(request) for request in requests]
        content = "".join(lines).encode()
        client = self._chat.connection.client
        name = f"{_TOKEN}-{token}.jsonl"

        async def upload() -> str:
            return _name_of(await client.files.create(file=(name, content), purpose="batch"))

        file = await self._repeated(upload)

        async def create() -> str:
            # An attempt that failed may have created it all the same.
            found = await self.find(token) if attempts else None
            attempts.append(None)
            if found is not None:
                return found
            batch = await client.batches.create(
                input_file_id=file,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_TOKEN: token},
            )
            return _name_of(batch)

        attempts: list[None] = []
        return await self._repeated(create)

    def line(self, request: Request) -> str:
        """Return the line of the file that asks one question."""
        body = self._chat.body(request)
        line = {"custom_id": request.key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(line, ensure_ascii=False) + "\n"

    async def find(self, token: str) -> str | None:
        """Return the server's name of the batch with this token; None if there is none.

        A server that keeps no metadata of a batch may know it by the name of its file.
        """
        client, name = self._chat.connection.client, f"{_TOKEN}-{token}.jsonl"

        async def search() -> str | None:
            without = []
            async for batch in client.batches.list(limit=100):
                if (batch.metadata or {}).get(_TOKEN) == token:
                    return batch.id
                if not batch.metadata:
                    without.append(batch)
            files = {file.id async for file in client.files.list() if file.filename == name} if without else set()
            return next((batch.id for batch in without if batch.input_file_id in files), None)

        return await self._repeated(search)

    async def state(self, identifier: str) -> BatchState:
        """Return the state of a batch."""

        async def retrieve() -> Batch:
            batch = await self._chat.connection.client.batches.retrieve(identifier)
            if not isinstance(batch.status, str):
                raise ValueError
            return batch

        batch = await self._repeated(retrieve)
        counts = batch.request_counts
        files = tuple(file for file in (batch.output_file_id, batch.error_file_id) if file)
        errors = (batch.errors.data if batch.errors else None) or []
        problem = self._chat.connection.clean("; ".join(error.message or error.code or "" for error in errors[:3]))
        return BatchState(batch.status, (counts.completed + counts.failed) if counts else 0, files, problem)

    async def results(self, state: BatchState, requests: Mapping[str, Request]) -> dict[str, Reply | Failure]:
        """Return what became of the questions, by their keys; one that is in no file was not answered."""
        texts = []
        for file in state.files:
            content = await self._repeated(lambda file=file: self._chat.connection.client.files.content(file))  # type: ignore[misc]
            texts.append(content.text)
        outcomes: dict[str, Reply | Failure] = {}
        for request, outcome in self._read(texts, requests):
            if not isinstance(outcomes.get(request.key), Reply):  # some servers give a line twice
                outcomes[request.key] = outcome
        return outcomes

    def _read(self, texts: Iterable[str], requests: Mapping[str, Request]) -> Iterator[tuple[Request, Reply | Failure]]:
        for text in texts:
            for line in text.splitlines():
                try:
                    record = json.loads(line)
                    request, response = requests.get(record["custom_id"]), record.get("response")
                    status, body = (response["status_code"], response["body"]) if response else (500, record["error"])
                    status = int(status)
                except (ValueError, LookupError, TypeError):
                    continue  # not a line of the protocol; its question is asked again
                if request is not None:
                    yield request, self._outcome(status, _text(body), request)

    def _outcome(self, status: int, text: str, request: Request) -> Reply | Failure:
        outcome = self._chat.connection.read(text, {}, expectation(request), status)
        share = self._chat.price_batch or 1.0
        if isinstance(outcome, Reply):
            return self._chat.priced(outcome, share)
        return self._chat.declined(request, outcome, share) if outcome.declined else outcome

    async def _repeated(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Call the server until it answers, as often as the chat model repeats a question."""
        import openai

        gone = False
        for attempt in range(1, self._chat.max_retries + 2):
            try:
                async with asyncio.timeout(_SECONDS):
                    return await call()
            except TimeoutError:
                failure = Failure("no answer in time", transient=True)
            except openai.APIStatusError as error:
                failure = self._chat.connection.refused(error)
                gone = error.status_code == 404
            except openai.APIConnectionError as error:
                failure = self._chat.connection.broken(error)
            except (AttributeError, TypeError, ValueError, LookupError):  # of the library, about a body of another form
                failure = Failure("an answer that is not of the protocol", transient=True)
            if not failure.transient or attempt > self._chat.max_retries:
                break
            await asyncio.sleep(self._chat.delay(attempt, failure))
        said = f"{self._chat.connection.address}, batches: {failure.reason}"
        if gone:
            raise Gone(
                f"{said}; use the key that a batch was submitted with (after a day it is given up), or set "
                "llm.batch=false if this server has no Batch API"
            )
        raise UserError(
            f"{said}; what is submitted is kept: run the same command again, or set llm.batch=false if this server has "
            "no Batch API"
        )


def _name_of(made: Any) -> str:
    """Return the server's name of a file or batch that was made; raise ValueError if it has none."""
    if not isinstance(made.id, str) or not made.id:
        raise ValueError
    return made.id


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
