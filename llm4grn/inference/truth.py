"""The true network of simulated data, as if it had been inferred: what an imposed graph can do at best."""

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
    """The edges that made simulated cells; the size of their weight is their importance.

    Parameters
    ----------
    source
        The source of the cells. One that is not simulated is refused when it is asked.
    """

    uses_expression: ClassVar[bool] = False

    source: Source

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """The true edges from the TFs to the targets at hand; ``seed`` changes nothing."""
        from llm4grn.grn import GRN

        tfs, targets = split_genes(list(adata.var_names), tf_names)
        edges = true_graph(self.source)
        edges = edges[edges["TF"].isin(tfs) & edges["target"].isin(targets)]
        if edges.empty:
            raise UserError("inferer=truth: no true edge joins a TF and a target at hand; choose kb=truth")
        edges = edges.assign(importance=edges["weight"].abs())
        return GRN.from_edges(edges, {"method": "truth", "source": type(self.source).__name__})
