"""What every inference method promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from llm4grn.errors import UserError

if TYPE_CHECKING:
    import anndata

    from llm4grn.grn import GRN


class Inferer(ABC):
    """Ranks the transcription factors of each target gene.

    Attributes
    ----------
    uses_expression
        Whether the method reads ``adata.X``. One that does not is given an AnnData of gene names only, with ``X`` None:
        it could not look at the expression by mistake.
    """

    uses_expression: ClassVar[bool]

    @abstractmethod
    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Infer the network of one data set.

        Parameters
        ----------
        adata
            Training cells, (n_cells, n_genes), dense or sparse, library-size normalised; ``X`` is None where
            ``uses_expression`` is False.
        tf_names
            The transcription factors, genes of ``adata`` all of them. Every other gene is a target. None if there is no
            list of them: then every gene is ranked for every other one.
        seed
            Same seed, same edges, on any number of processes.

        Raises
        ------
        UserError
            If the TFs are not among the genes, or leave no target.
        """

    def preview(self, genes: Sequence[str], tf_names: Sequence[str] | None, seed: int) -> str | None:
        """What would be asked and what it would cost, for methods that cost money; else None."""
        return None


def split_genes(genes: Sequence[str], tf_names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """TFs and targets, both in gene order; without a list of TFs, all genes are both.

    Raises
    ------
    UserError
        If there is no TF, a TF is not among the genes, or no target is left.
    """
    if tf_names is None:
        if len(genes) < 2:
            raise UserError(f"{len(genes)} genes: at least two are needed; check the dataset")
        return list(genes), list(genes)
    tfs = set(tf_names)
    strangers = sorted(tfs - set(genes))
    if strangers:
        raise UserError(f"{len(strangers)} TFs are not among the genes, for instance {strangers[0]}; check the kb")
    targets = [gene for gene in genes if gene not in tfs]
    if not tfs or not targets:
        raise UserError(f"{len(tfs)} TFs and {len(targets)} targets: at least one of each is needed; check the kb")
    return [gene for gene in genes if gene in tfs], targets
