"""What every inference method promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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


class CombiningInferer(Inferer):
    """Makes its network from those of other inferers, its members.

    The pipeline keeps the network of each member as a stage of its own, the same as if that member were the inferer,
    and hands them to :meth:`combine`. Without a pipeline, :meth:`infer` runs the members first.

    Attributes
    ----------
    members
        Name and inferer of each. A field that does not count in comparisons: the members' stages are inputs of this
        one's stage.
    """

    members: Mapping[str, Inferer]

    @property
    def uses_expression(self) -> bool:
        """Whether any member does."""
        return any(member.uses_expression for member in self.members.values())

    @abstractmethod
    def combine(self, networks: Mapping[str, GRN], genes: Sequence[str], tf_names: Sequence[str] | None) -> GRN:
        """Combine the network of each member.

        Parameters
        ----------
        networks
            By the member's name.
        genes
            All genes of the data set.
        tf_names
            The transcription factors; None if there is no list of them.
        """

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Infer each member's network and combine them; a member that must not see expression is given names only."""
        networks = {
            name: member.infer(adata if member.uses_expression else names_only(adata), tf_names, seed)
            for name, member in self.members.items()
        }
        return self.combine(networks, list(adata.var_names), tf_names)

    def preview(self, genes: Sequence[str], tf_names: Sequence[str] | None, seed: int) -> str | None:
        """The previews of those members that have one."""
        previews = [member.preview(genes, tf_names, seed) for member in self.members.values()]
        return "\n".join(preview for preview in previews if preview is not None) or None


def names_only(adata: anndata.AnnData) -> anndata.AnnData:
    """Genes without a single cell: for inferers that must not see expression."""
    import anndata

    return anndata.AnnData(var=adata.var[[]])


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
