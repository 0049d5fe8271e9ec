"""Negative control: transcription factors drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llm4grn.errors import UserError
from llm4grn.knowledge.base import KnowledgeBase, TFSet
from llm4grn.knowledge.curated import CuratedList
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import Positive, check_fields


@dataclass(frozen=True)
class RandomGenes(KnowledgeBase):
    """Random genes, as many as a curated list contains among the same genes, or ``n``.

    Any gene can be drawn, including true TFs: the curated list only determines the number of genes.

    Parameters
    ----------
    organism, source, path, aliases
        Arguments of the :class:`~llm4grn.knowledge.curated.CuratedList` that determines the number; not used with
        ``n``.
    n
        Number of genes to draw.

    Raises
    ------
    UserError
        If ``n`` is below 1, or the curated list cannot be read.
    """

    organism: str = "human"
    source: str = "default"
    path: str | None = field(default=None, compare=False)  # the key holds the file's content, see fingerprint
    n: Positive | None = None
    aliases: bool = field(default=False, metadata={"optional": True})

    def __post_init__(self) -> None:
        check_fields(self, "kb", source="kb.list", organism="dataset.organism")
        if self.n is None:
            self._curated()

    def _curated(self) -> CuratedList:
        return CuratedList(self.organism, self.source, self.path, self.aliases)

    def fingerprint(self) -> dict[str, str]:
        """Return the fingerprint of the curated list; empty if ``n`` is set."""
        return self._curated().fingerprint() if self.n is None else {}

    def transcription_factors(self, genes: Sequence[str], context: str = "", seed: int = 0) -> TFSet:
        """Draw genes uniformly without replacement; ``context`` is not used."""
        import numpy as np

        n = len(self._curated().transcription_factors(genes).names) if self.n is None else self.n
        pool = sorted(set(genes))
        if n >= len(pool):
            raise UserError(f"kb.n={n}: with {len(pool)} genes no target would be left; choose less than {len(pool)}")
        drawn = np.random.default_rng(derive_seed(seed, "random_kb")).choice(len(pool), size=n, replace=False)
        return TFSet(tuple(pool[i] for i in drawn), provenance={"method": "random", "n": n, "seed": seed})
