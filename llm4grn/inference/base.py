"""The interface of an inference method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llm4grn.errors import UserError

if TYPE_CHECKING:
    import anndata

    from llm4grn.grn import GRN


class Inferer(ABC):
    """Ranks the transcription factors of each target gene."""

    @property
    @abstractmethod
    def uses_expression(self) -> bool:
        """Whether the method reads ``adata.X``; most methods set it as a class variable.

        A method that does not read it is given an AnnData without ``X``, so that it cannot read expression by mistake.
        """

    @abstractmethod
    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Infer the network of one data set.

        Parameters
        ----------
        adata
            Training cells, shape (n_cells, n_genes), dense or sparse, library-size normalised; ``X`` is None where
            ``uses_expression`` is False.
        tf_names
            Transcription factors, all of them genes of ``adata``; every other gene is a target. None if there is no
            list of TFs; then every gene is ranked as a regulator of every other gene.
        seed
            Seed that determines the edges, on any number of processes.

        Raises
        ------
        UserError
            If a TF is not among the genes, or no target is left.
        """

    def preview(self, genes: Sequence[str], tf_names: Sequence[str] | None, seed: int) -> str | None:
        """Describe the questions and their cost before any is asked; None for methods that cost nothing."""
        return None


class CombiningInferer(Inferer):
    """Combines the networks of other inferers, its members.

    The pipeline stores the network of each member as a separate stage, as if that member were the inferer, and passes
    the networks to :meth:`combine`. Without a pipeline, :meth:`infer` runs the members first.

    Attributes
    ----------
    members
        Inferer of each member, by name. The field is excluded from comparisons and keys, because the members' stages
        are inputs of this stage.
    """

    members: Mapping[str, Inferer]

    @property
    def uses_expression(self) -> bool:
        """Whether any member reads ``adata.X``."""
        return any(member.uses_expression for member in self.members.values())

    @abstractmethod
    def combine(
        self, networks: Mapping[str, GRN], genes: Sequence[str], tf_names: Sequence[str] | None, seed: int = 0
    ) -> GRN:
        """Combine the networks of the members.

        Parameters
        ----------
        networks
            Network of each member, by name.
        genes
            All genes of the data set.
        tf_names
            Transcription factors; None if there is no list of them.
        seed
            Seed for combinations that draw random numbers.
        """

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Infer each member's network and combine them; members that do not use expression get gene names only."""
        networks = {
            name: member.infer(adata if member.uses_expression else names_only(adata), tf_names, seed)
            for name, member in self.members.items()
        }
        return self.combine(networks, list(adata.var_names), tf_names, seed)

    def preview(self, genes: Sequence[str], tf_names: Sequence[str] | None, seed: int) -> str | None:
        """Join the previews of the members that have one; None if there is none."""
        previews = [member.preview(genes, tf_names, seed) for member in self.members.values()]
        return "\n".join(preview for preview in previews if preview is not None) or None


def names_only(adata: anndata.AnnData) -> anndata.AnnData:
    """Return an AnnData with the genes but no cells, for inferers that must not see expression."""
    import anndata

    return anndata.AnnData(var=adata.var[[]])


def split_genes(genes: Sequence[str], tf_names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return TFs and targets, both in gene order; without a list of TFs, every gene is both.

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
    unknown = sorted(tfs - set(genes))
    if unknown:
        raise UserError(f"{len(unknown)} TFs are not among the genes, for instance {unknown[0]}; check the kb")
    targets = [gene for gene in genes if gene not in tfs]
    if not tfs or not targets:
        raise UserError(f"{len(tfs)} TFs and {len(targets)} targets: at least one of each is needed; check the kb")
    return [gene for gene in genes if gene in tfs], targets
