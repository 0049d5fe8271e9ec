"""An open connection to a server: bodies go out, and replies or failures come back, without secrets."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from llm4grn.llm.messages import Reply
from llm4grn.llm.openai.error_body import ErrorBody, read_error
from llm4grn.llm.openai.failures import Failure, refusal, time_out
from llm4grn.llm.openai.protocol import ProtocolError, to_reply

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

# Servers without keys are given words such as EMPTY or x; replacing these would damage answers.
_SHORTEST_SECRET = 8
_PIECE = 12  # letters of a secret that are hidden wherever they stand together
_ADDRESS = "check llm.base_url, which often ends in /v1, and the proxy"
_CERTIFICATE = "set llm.ca_file to the file with the certificates of its CA"


@dataclass(frozen=True)
class Expected:
    """What is known of an answer before it comes, for servers that do not count tokens.

    Parameters
    ----------
    prompt_tokens
        Estimated tokens of the question.
    length_limit
        Maximum number of tokens of the answer; None without a limit.
    with_schema
        Whether the question comes with a JSON schema.
    """

    prompt_tokens: int
    length_limit: int | None
    with_schema: bool


class Connection:
    """A connection to one server.

    Parameters
    ----------
    client
        Client of the server.
    secrets
        Key and values of headers, which are replaced in everything that comes back.
    key_variable
        Environment variable with the key; None for a server without keys.
    """

    def __init__(self, client: AsyncOpenAI, secrets: Iterable[str], key_variable: str | None) -> None:
        self.client = client
        # A header may hold a scheme and a key, of which a server repeats the key alone.
        parts = {part for secret in secrets for part in (secret, secret.rpartition(" ")[2])}
        parts |= {quote(part, safe="") for part in parts}
        self._secrets = sorted((part for part in parts if len(part) >= _SHORTEST_SECRET), key=len, reverse=True)
        # A server may also repeat a part of one.
        whole = [secret for secret in self._secrets if " " not in secret and "%20" not in secret]
        self._pieces = {secret[i : i + _PIECE] for secret in whole for i in range(len(secret) - _PIECE + 1)}
        self._key_variable = key_variable

    @property
    def address(self) -> str:
        """Address of the server, without a password that it may contain."""
        address = urlsplit(str(self.client.base_url))
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"

    async def ask(self, body: Mapping[str, Any], expected: Expected, seconds: float) -> Reply | Failure:
        """Send one question and wait for its answer for the given time.

        Failures are returned, not raised: an exception would contain the server's text, which may include the key.
        """
        import httpx2
        import openai

        started = time.perf_counter()
        try:
            # One time-out for the whole attempt; httpx's own would restart with each byte. The raw response is used
            # because building the client's typed objects takes longer than everything else.
            async with asyncio.timeout(seconds):
                response = await self.client.post(
                    "/chat/completions", body=body, cast_to=httpx2.Response, options={"timeout": None}
                )
        except TimeoutError:
            return time_out(seconds)
        except openai.APIStatusError as error:
            return self.refused(error, expected.with_schema)
        except openai.APIConnectionError as error:
            return self.broken(error)
        latency = time.perf_counter() - started
        outcome = self.read(_decoded(response.content), response.headers, expected)
        return replace(outcome, latency=latency) if isinstance(outcome, Reply) else outcome

    def read(self, text: str, headers: Mapping[str, str], expected: Expected, status: int = 200) -> Reply | Failure:
        """Read the body of a response."""
        if status >= 400:
            return self._refusal(status, read_error(text), headers, expected.with_schema)
        try:
            reply = to_reply(text, expected.prompt_tokens, expected.length_limit)
        except ProtocolError as problem:
            if problem.error is not None:
                failure = self._refusal(problem.error.likely_status, problem.error, headers, expected.with_schema, True)
                return replace(failure, usage=problem.usage)
            if text.lstrip().startswith("<"):
                said = f"a web page in the place of an answer: {self.clean(read_error(text).message, 80)!r}"
                return Failure(said, transient=True, billed=True, remedy=_ADDRESS)
            said = f"an answer that is not of the protocol: {self.clean(text, 80)!r}"
            return Failure(said, transient=True, billed=True, usage=problem.usage, of_question=True)
        served = reply.served_model and self._scrub(reply.served_model)
        reason = self._scrub(reply.finish_reason)
        return replace(reply, text=self._scrub(reply.text), served_model=served, finish_reason=reason)

    def refused(self, error: APIStatusError, with_schema: bool = False) -> Failure:
        """Return the failure that a response with an error status is."""
        said = read_error(_decoded(error.response.content))
        return self._refusal(error.status_code, said, error.response.headers, with_schema)

    def broken(self, error: APIConnectionError) -> Failure:
        """Return the failure that a broken connection is."""
        import httpx2

        cause = error.__cause__ or error
        if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return Failure(f"its certificate is not trusted ({self.clean(str(cause), 120)}); {_CERTIFICATE}")
        # A connection that breaks after the question was sent does not end the work on it.
        return Failure(
            f"no connection: {self.clean(f'{type(cause).__name__} {cause}')}",
            transient=True,
            billed=not isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError),
        )

    def _refusal(
        self, status: int, error: ErrorBody, headers: Mapping[str, str], with_schema: bool, in_answer: bool = False
    ) -> Failure:
        said = self.clean(error.message)
        message = ("an error in the place of an answer" if in_answer else f"Error code: {status}") + (
            f" - {said}" if said else ""
        )
        return refusal(
            status, message, error, headers=headers, key_variable=self._key_variable, with_schema=with_schema
        )

    def _scrub(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        hidden = [i for i in range(len(text) - _PIECE + 1) if text[i : i + _PIECE] in self._pieces]
        if not hidden:
            return text
        covered = {i for start in hidden for i in range(start, start + _PIECE)}
        return re.sub("\0+", "***", "".join("\0" if i in covered else char for i, char in enumerate(text)))

    def clean(self, text: str, length: int = 200) -> str:
        """Return the text as one short printable line without the key."""
        # Some servers escape slashes and other signs in JSON.
        text = re.sub(r"\\u00([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text.replace("\\/", "/"))
        text = "".join(char if char.isprintable() else " " for char in self._scrub(text))
        text = " ".join(text.split())
        return text if len(text) <= length else text[: length - 3] + "..."


def _decoded(content: bytes) -> str:
    """Return a body as text, which some servers begin with a mark of its encoding."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")
