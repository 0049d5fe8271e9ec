"""Answers that are cut off at ``llm.max_tokens`` and hold nothing usable: when an interview has to stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from llm4grn.errors import UserError
from llm4grn.llm.messages import Reply

#: Cut answers in a row after which an interview stops: before the first usable answer, and after it.
_FIRST, _LATER = 3, 8


@dataclass
class CutAnswers:
    """Count of the cut and unusable answers since the last usable one.

    A model that reasons may spend the whole limit on it, and is paid for that; more questions would only cost more.
    """

    _some_usable: bool = field(default=False, init=False)
    _cut: list[Reply] = field(default_factory=list, init=False)

    def note(self, reply: Reply, usable: bool) -> None:
        """Count one reply."""
        if usable:
            self._some_usable = True
            self._cut.clear()
        elif reply.is_cut:
            self._cut.append(reply)

    def check(self, max_tokens: int | None, spent: float) -> None:
        """Raise UserError if too many answers in a row were cut off.

        Parameters
        ----------
        max_tokens
            Limit of the answers' length; None for the server's own.
        spent
            US dollars that this interview has cost so far.
        """
        n = len(self._cut)
        if n < (_LATER if self._some_usable else _FIRST):
            return
        reasoning = [reply.reasoning_tokens for reply in self._cut if reply.reasoning_tokens]
        why = f", {max(reasoning)} tokens of hidden reasoning included" if reasoning else ""
        higher = f" to {4 * max_tokens}, say" if max_tokens else ""
        raise UserError(
            f"llm.max_tokens={max_tokens or 'null'}: the last {n} answers were cut off there{why} and hold nothing "
            f"usable; ${spent:.4f} spent so far; raise llm.max_tokens{higher}, or lower "
            "llm.reasoning_effort: only what was cut off will be asked again"
        )
