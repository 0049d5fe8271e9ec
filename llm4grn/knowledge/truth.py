"""The true transcription factors of simulated data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm4grn.data.simulated import true_graph
from llm4grn.data.sources import Source
from llm4grn.errors import UserError
from llm4grn.knowledge.base import KnowledgeBase, TFSet


@dataclass(frozen=True)
class TrueTFs(KnowledgeBase):
    """The regulators in the true graph of simulated data.

    Parameters
    ----------
    source
        Source of the cells; one that is not simulated raises UserError in :meth:`transcription_factors`.
    """

    source: Source

    def transcription_factors(self, genes: Sequence[str], context: str = "", seed: int = 0) -> TFSet:
        """Return the true regulators among the genes; ``context`` and ``seed`` are not used."""
        tfs = set(true_graph(self.source)["TF"]) & set(genes)
        if not tfs or len(tfs) == len(set(genes)):
            raise UserError(
                f"kb=truth: {len(tfs)} of the {len(set(genes))} genes at hand are true TFs, so there is nothing to "
                "infer; lower dataset.preprocessing.min_cells"
            )
        return TFSet(tuple(tfs), provenance={"method": "truth", "source": type(self.source).__name__})
