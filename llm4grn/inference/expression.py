"""Expression data and edge tables shared by the inferers that use expression."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm4grn.inference.base import split_genes

if TYPE_CHECKING:
    import anndata
    import numpy as np
    import pandas as pd
    from scipy.sparse import csc_matrix

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class Expression:
    """Expression of the varying genes, in alphabetical order, so that results do not depend on the column order.

    Parameters
    ----------
    genes
        Gene names, shape (n_genes,).
    matrix
        Expression, shape (n_cells, n_genes), without stored zeros.
    tfs, targets
        Positions of the TFs and of the targets among the genes; identical if there is no list of TFs.
    """

    genes: np.ndarray
    matrix: csc_matrix
    tfs: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(
        cls, adata: anndata.AnnData, tf_names: Sequence[str] | None, method: str, *, every_gene: bool = False
    ) -> Expression:
        """Select the varying genes of ``adata``; a warning that names ``method`` counts the others, which get no edges.

        With ``every_gene``, every gene is a target, the TFs among them, as in SCENIC.

        Raises
        ------
        UserError
            If :func:`~llm4grn.inference.base.split_genes` finds no valid TFs and targets.
        """
        import numpy as np
        from scipy.sparse import csc_matrix

        names = list(adata.var_names)
        if every_gene and tf_names is not None and set(tf_names) == set(names):
            tf_names = None  # the same regressions; a list that leaves no other target is refused otherwise
        tfs, targets = (set(part) for part in split_genes(names, tf_names))
        if every_gene:
            targets = set(names)
        matrix = csc_matrix(adata.X)
        matrix.eliminate_zeros()
        varies = (matrix.max(axis=0) != matrix.min(axis=0)).toarray().ravel()
        constant = sorted(name for name, keep in zip(names, varies, strict=True) if not keep)
        if constant:
            logger.warning(
                "%s: %d of %d genes have the same expression in all cells and get no edges, for instance %s",
                *(method, len(constant), len(names), constant[0]),
            )
        kept = sorted((name, i) for i, (name, keep) in enumerate(zip(names, varies, strict=True)) if keep)
        genes = np.array([name for name, _ in kept], dtype=object)
        return cls(
            genes=genes,
            matrix=matrix[:, [i for _, i in kept]],
            tfs=np.array([i for i, gene in enumerate(genes) if gene in tfs], dtype=int),
            targets=np.array([i for i, gene in enumerate(genes) if gene in targets], dtype=int),
        )

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.matrix.shape[0])

    def edges(self, scores: np.ndarray) -> pd.DataFrame:
        """Return the edges with a positive score, of shape (n_tfs, n_targets), without self-regulation."""
        import numpy as np
        import pandas as pd

        tf, target = np.nonzero((scores > 0) & (self.tfs[:, None] != self.targets[None, :]))
        names = self.genes[self.tfs[tf]], self.genes[self.targets[target]]
        return pd.DataFrame({"TF": names[0], "target": names[1], "importance": scores[tf, target]})
