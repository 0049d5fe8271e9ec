"""Positive control: the true network of simulated data, as an upper bound for inferred networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llm4grn.data.simulated import true_graph
from llm4grn.data.sources import Source
from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer, split_genes

if TYPE_CHECKING:
    import anndata

    from llm4grn.grn import GRN


@dataclass(frozen=True)
class TrueGRN(Inferer):
    """The edges of the network that generated simulated cells; the importance is the absolute weight.

    Parameters
    ----------
    source
        Source of the cells; one that is not simulated raises UserError in :meth:`infer`.
    """

    uses_expression: ClassVar[bool] = False

    source: Source

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Return the true edges from the given TFs to the targets; ``seed`` is not used."""
        from llm4grn.grn import GRN

        tfs, targets = split_genes(list(adata.var_names), tf_names)
        edges = true_graph(self.source)
        edges = edges[edges["TF"].isin(tfs) & edges["target"].isin(targets)]
        if edges.empty:
            raise UserError("inferer=truth: no true edge joins a TF and a target at hand; choose kb=truth")
        edges = edges.assign(importance=edges["weight"].abs())
        return GRN.from_edges(edges, {"method": "truth", "source": type(self.source).__name__})
