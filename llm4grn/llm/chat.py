"""What answers questions: the contract between an interview and any language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from llm4grn.llm.messages import Reply, Request


class ChatModel(ABC):
    """What answers questions: ``async with model: reply = await model.complete(request)``, any number at once."""

    #: Requests that it has under way at once; more only wait.
    max_concurrency: int = 1

    @abstractmethod
    async def complete(self, request: Request) -> Reply:
        """The answer, possibly with an empty text.

        Raises
        ------
        UserError
            If there will be no answer, in one line that says why and what to do.
        Stopped
            If it was not sent, or came back without an answer, when the model was stopped.
        """

    def stop(self) -> None:  # noqa: B027 (most have nothing to hold back)
        """Send nothing more until it is opened again. What is under way comes back, within its time-out."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        return 0.0

    def worst_cost(self, request: Request) -> float:
        """US dollars that a request may cost at most."""
        return 0.0

    def identify(self, model: str) -> str:
        """The name under which the answers of ``model`` are kept."""
        return model

    @property
    def recording(self) -> str | None:
        """Name of the recording that the answers are read from; None if somebody is asked."""
        return None

    def has(self, request: Request) -> bool:
        """Return True if the answer is known without asking anybody."""
        return False

    def fingerprint(self) -> dict[str, str]:
        """Of the file that the answers come from, if they come from one."""
        return {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:  # noqa: B027 (most have nothing to close)
        """Let go of connections and processes. It can be opened again."""


class Stopped(Exception):
    """A request ends without an answer, as the model was stopped."""
