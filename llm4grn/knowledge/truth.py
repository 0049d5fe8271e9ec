"""The transcription factors of simulated data, which are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm4grn.data.simulated import true_graph
from llm4grn.data.sources import Source
from llm4grn.errors import UserError
from llm4grn.knowledge.base import KnowledgeBase, TFSet


@dataclass(frozen=True)
class TrueTFs(KnowledgeBase):
    """The genes that regulate others in the true graph of simulated data.

    Parameters
    ----------
    source
        The source of the cells. One that is not simulated is refused when it is asked.
    """

    source: Source

    def transcription_factors(self, genes: Sequence[str], context: str = "", seed: int = 0) -> TFSet:
        """The regulators among the genes; ``context`` and ``seed`` change nothing."""
        found = set(true_graph(self.source)["TF"]) & set(genes)
        if not found or len(found) == len(set(genes)):
            raise UserError(
                f"kb=truth: {len(found)} of the {len(set(genes))} genes at hand are true TFs, so there is nothing to "
                "infer; lower dataset.preprocessing.min_cells"
            )
        return TFSet(tuple(found), provenance={"method": "truth", "source": type(self.source).__name__})
