"""Data sets that come with the package, as raw counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm4grn.api.options import dataset_context

if TYPE_CHECKING:
    from anndata import AnnData

    from llm4grn.data.sources import Source

#: Key in ``uns`` of what a data set's YAML file says about it: the defaults of `llm4grn.preprocess`.
DESCRIPTION = "llm4grn"


def pbmc3k() -> AnnData:
    """Return 2,700 human blood cells x 13,714 genes of 10x Genomics, shipped with the package.

    Returns
    -------
    AnnData
        Raw counts (CSR), ``obs["cell_type"]``, and in ``uns["llm4grn"]`` the organism and the context that a language
        model gets.

    Examples
    --------
    >>> import llm4grn as lg
    >>> lg.datasets.pbmc3k().shape
    (2700, 13714)
    """
    from llm4grn.data.sources import PBMC3k

    return _load(PBMC3k(), "pbmc3k")


def pbmc68k_reduced() -> AnnData:
    """Return 700 human blood cells x 765 genes, shipped with scanpy, as raw counts with ``obs["cell_type"]``.

    Examples
    --------
    >>> import llm4grn as lg
    >>> lg.datasets.pbmc68k_reduced().shape
    (700, 765)
    """
    from llm4grn.data.sources import PBMC68kReduced

    return _load(PBMC68kReduced(), "pbmc68k_reduced")


def _load(source: Source, name: str) -> AnnData:
    adata = source.load()
    adata.uns[DESCRIPTION] = dict(dataset_context(name))
    return adata
