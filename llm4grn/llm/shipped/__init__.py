"""Recorded answers of a large language model, shipped with the package; README.md describes their origin."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path

from llm4grn.llm.messages import Request
from llm4grn.llm.recorded import RecordedChat

_FILE = Path(__file__).with_name("claude_pbmc3k.jsonl.gz")
_LONGEST = 100  # maximum number of characters quoted from a prompt
_COVERAGE = (
    "the recording covers dataset=pbmc3k with its 1000 default genes, llm.prompts=cot_context_v1, "
    "llm.answer_format=text, graph.k=10 and inferer.targets_per_question=20: samples 0 and 1 under kb=human, "
    "sample 0 under kb=llm; "
    "for anything else ask a model, with llm=gpt4, or llm=openai_compatible llm.base_url=... llm.model=..."
)


@dataclass
class ShippedChat(RecordedChat):
    """The shipped answers of Claude about PBMC3k.

    Raises
    ------
    UserError
        If a question is not in the recording; the message names what is new in it, what the recording covers, and a
        remedy.
    """

    path: str = field(default=str(_FILE), init=False, compare=False)

    @property
    def recording(self) -> str:
        return "the recording of claude"

    @cached_property
    def _lines(self) -> set[str]:
        """All lines of all recorded questions."""
        conversations = [json.loads(question)[0] for question in self._replies]
        return {line for messages in conversations for message in messages for line in message["content"].splitlines()}

    def _refusal(self, request: Request) -> str:
        return f"llm=shipped: {self._difference(request)}; {_COVERAGE}"

    def _difference(self, request: Request) -> str:
        if self.has(replace(request, sample=0)):
            return f"sample {request.sample} of a question is not recorded (inferer.n_samples, inferer.first_sample)"
        lines = [line for message in request.messages for line in message["content"].splitlines()]
        new = next((line for line in lines if line not in self._lines), None)
        if new is None:
            return "no answer to a question of these lines in this combination is recorded"
        return f'no answer to a question with the line "{self._quoted(new)}" is recorded'

    def _quoted(self, line: str) -> str:
        """Return the part of a long line where it begins to differ from the recorded lines."""
        same = max(_n_equal(line, other) for other in self._lines)
        start = max(0, min(same - _LONGEST // 2, len(line) - _LONGEST))
        return "..." * (start > 0) + line[start : start + _LONGEST] + "..." * (start + _LONGEST < len(line))


def _n_equal(one: str, other: str) -> int:
    """Return the length of the common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
