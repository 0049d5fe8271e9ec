"""What every knowledge base promises, and the set of transcription factors it gives."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.store import atomic_write


@dataclass(frozen=True)
class TFSet:
    """The genes that are called transcription factors.

    Parameters
    ----------
    names
        The TFs, kept sorted and without repeats.
    votes
        How often each gene was named, for a knowledge base that asks more than once; else empty. May hold genes that
        did not get enough votes to be in ``names``.
    provenance
        Where the names come from: JSON values only.
    """

    names: tuple[str, ...]
    votes: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(set(self.names))))

    def to_json(self, path: str | Path) -> None:
        """Write names, votes and provenance: same set, same bytes."""
        content = {"names": list(self.names), "votes": self.votes, "provenance": self.provenance}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    @classmethod
    def from_json(cls, path: str | Path) -> TFSet:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        UserError
            If the file is missing or of another form.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(tuple(content["names"]), dict(content["votes"]), dict(content["provenance"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not a set of TFs ({type(error).__name__}: {error}); "
                'expected JSON of the form {"names": [...], "votes": {...}, "provenance": {...}}'
            ) from error


class KnowledgeBase(ABC):
    """Names the transcription factors among the genes of a data set."""

    @abstractmethod
    def transcription_factors(self, genes: Sequence[str], context: str, seed: int) -> TFSet:
        """The TFs among ``genes``.

        Parameters
        ----------
        genes
            Gene names of the data set, in any order: the answer does not depend on it.
        context
            The biology of the data set in a sentence, for knowledge bases that read.
        seed
            For knowledge bases that draw.

        Raises
        ------
        UserError
            If no gene is a TF, or every gene is (no target would be left).
        """

    def preview(self, genes: Sequence[str], context: str, seed: int) -> str | None:
        """What would be asked and what it would cost, for knowledge bases that cost money; else None."""
        return None

    def fingerprint(self) -> dict[str, str]:
        """What beside the constructor's arguments decides the answer (a file's content): part of the stage's key."""
        return {}
