"""Negative control: a random ranking of the transcription factors for each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llm4grn.inference.base import Inferer, split_genes
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import Positive, check_fields

if TYPE_CHECKING:
    import anndata

    from llm4grn.grn import GRN


@dataclass(frozen=True)
class RandomGRN(Inferer):
    """Importances drawn uniformly from (0, 1), so that the top k are k TFs drawn uniformly (section 4 of the protocol).

    Each target has its own random stream, so its ranking does not depend on the other targets or on the gene order.

    Parameters
    ----------
    k_max
        Number of best TFs kept for each target; None keeps the whole ranking.

    Raises
    ------
    UserError
        If ``k_max`` is below 1.
    """

    uses_expression: ClassVar[bool] = False

    k_max: Positive | None = None

    def __post_init__(self) -> None:
        check_fields(self, "inferer")

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Rank all TFs at random for every target; only the gene names of ``adata`` are read."""
        import numpy as np
        import pandas as pd

        from llm4grn.grn import GRN

        tf_list, targets = split_genes(list(adata.var_names), tf_names)
        tfs = np.array(sorted(tf_list), dtype=object)
        parts = []
        for target in targets:
            # random() is in [0, 1); 1 - random() is never 0, which would mean "no edge".
            importance = 1 - np.random.default_rng(derive_seed(seed, "random_grn", target)).random(len(tfs))
            order = np.argsort(-importance)
            best = order[tfs[order] != target][: self.k_max]
            parts.append(pd.DataFrame({"TF": tfs[best], "target": target, "importance": importance[best]}))
        return GRN.from_edges(pd.concat(parts, ignore_index=True), {"method": "random", "seed": seed})
