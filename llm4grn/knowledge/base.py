"""The interface of a knowledge base, and the set of transcription factors that it returns."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.store import atomic_write


@dataclass(frozen=True)
class TFSet:
    """The transcription factors selected by a knowledge base.

    Parameters
    ----------
    names
        TF names, stored sorted and without duplicates.
    votes
        Number of times each gene was named, if the knowledge base asks more than once; else empty. May include genes
        with too few votes to be in ``names``.
    provenance
        Origin of the names, as JSON values.
    """

    names: tuple[str, ...]
    votes: Mapping[str, int] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(set(self.names))))

    def to_json(self, path: str | Path) -> None:
        """Write names, votes and provenance as JSON; equal sets give identical files."""
        content = {"names": list(self.names), "votes": self.votes, "provenance": self.provenance}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    @classmethod
    def from_json(cls, path: str | Path) -> TFSet:
        """Read a file written by :meth:`to_json`.

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
    """Selects the transcription factors among the genes of a data set."""

    @abstractmethod
    def transcription_factors(self, genes: Sequence[str], context: str, seed: int) -> TFSet:
        """Return the TFs among ``genes``.

        Parameters
        ----------
        genes
            Gene names of the data set; their order does not affect the result.
        context
            Description of the data set's biology, for knowledge bases that ask a language model.
        seed
            Seed for knowledge bases that draw random numbers.

        Raises
        ------
        UserError
            If no gene is a TF, or every gene is (no target would be left).
        """

    def preview(self, genes: Sequence[str], context: str, seed: int) -> str | None:
        """Describe the questions and their cost before any is asked; None for knowledge bases that cost nothing."""
        return None

    def report(self, genes: Sequence[str]) -> str | None:
        """Return one line on what became of the names of a list; None for knowledge bases without one."""
        return None

    def fingerprint(self) -> dict[str, str]:
        """Return what else determines the result besides the constructor's arguments, as part of the stage's key.

        An example is the digest of a file whose path is an argument.
        """
        return {}
