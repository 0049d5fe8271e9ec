"""From an AnnData as users have it to checked counts: the right matrix, genes by symbols, and the wanted cells."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm4grn.data import readers
from llm4grn.data.names import common_prefix, shortened, warnings_about
from llm4grn.data.raw_counts import as_csr, is_corrected, n_copies, warnings_about_counts
from llm4grn.data.symbols import ORGANISMS, are_barcodes, are_ensembl_ids, share_known, symbol_table
from llm4grn.data.text_tables import clean
from llm4grn.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

logger = logging.getLogger(__name__)

_SYMBOL_COLUMNS = (
    *("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol", "symbols", "hgnc_symbol"),
    *("mgi_symbol", "gene_short_name", "external_gene_name", "GeneName", "Symbol", "Gene", "name", "SYMBOL"),
)
_ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "Accession", "feature_id", "id")
_TYPE_COLUMNS = ("feature_types", "feature_type", "feature_modality", "modality")
_GENE_TYPES = {"gene expression", "gene", "rna", "genes", "gex"}
_NAMELESS = {"", "nan", "NaN", "<NA>", "None"}
_FEW = 0.01  # share of the cells that may be copies of others without a warning
_MOST = 0.5  # share of known symbols in a column that holds the names of genes
_SYMBOL_BESIDE_ID = re.compile(r"(.+)[|_:;](?:ENS[A-Z]*G\d{11}(?:\.\d+)?)|(?:ENS[A-Z]*G\d{11}(?:\.\d+)?)[|_:;](.+)")
#: Value of ``gene_names`` that keeps the names of the file.
INDEX = "index"


@dataclass(frozen=True, kw_only=True)
class CellChoice:
    """What to take of a user's cells.

    Parameters
    ----------
    layer
        Layer with the raw counts; ``raw`` means ``adata.raw`` unless a layer has that name; None means ``adata.X``.
    cell_type_column
        Column of ``obs`` with cell types; None means ``cell_type`` if it exists.
    gene_names
        Column of ``var`` with the names of the genes; ``index`` for the index; None takes the index, or, if it holds
        Ensembl ids, a column of symbols, or else the symbols that the shipped tables have for the ids.
    subset
        Query on ``obs`` that the cells must fulfil, as :meth:`pandas.DataFrame.query` takes it; None for all.
    batch
        Column of ``obs`` with the batch of each cell; None if there is one batch.
    round
        True to round decontaminated or estimated counts.
    organism
        Organism, for warnings about names of another.
    """

    layer: str | None = None
    cell_type_column: str | None = None
    gene_names: str | None = None
    subset: str | None = None
    batch: str | None = None
    round: bool = False
    organism: str | None = None

    def shown(self, name: str) -> str:
        """Return the name of the data for messages, with the layer if one is chosen."""
        return name if self.layer is None else f"{name} (layer {self.layer})"


def chosen_counts(adata: AnnData, name: str, choice: CellChoice) -> AnnData:
    """Return the raw counts of a user's AnnData, checked, with ``obs["cell_type"]`` and ``obs["batch"]`` if known.

    Parameters
    ----------
    adata
        It is not changed.
    name
        What messages call it: its path, for instance.
    choice
        What to take of it.

    Raises
    ------
    UserError
        If there is no such layer or column, no cell is left, names are missing or those of cells, or the matrix holds
        no raw counts.
    """
    column = choice.cell_type_column
    if column is None and "cell_type" in adata.obs:
        column = "cell_type"
    for field, wanted in ("cell_type_column", column), ("batch", choice.batch):
        if wanted is not None and wanted not in adata.obs:
            have = ", ".join(map(str, adata.obs.columns)) or "none"
            raise UserError(f"dataset.{field}: {name} has no obs column {wanted} (columns: {have})")
    adata = chosen_genes(adata, name, choice)
    shown = choice.shown(name)
    if choice.round:
        adata = _rounded(adata, shown)
    types, batches = (None if c is None else adata.obs[c] for c in (column, choice.batch))
    for wanted, values in (column, types), (choice.batch, batches):
        if values is not None and (n_missing := int(values.isna().sum())):
            logger.warning("%s: %d cells have no value in obs.%s, and are called 'unknown'", shown, n_missing, wanted)
    counts = readers.as_counts(adata, shown, types, batches)
    lines = [*warnings_about(list(counts.var_names), choice.organism), *warnings_about_counts(counts.X)]
    if (copies := n_copies(counts.X)) > _FEW * counts.n_obs:
        lines.append(
            f"{copies} cells are exact copies of others, as in a sample that was merged twice: they stand on both "
            "sides of the split, and make inference slow; drop them"
        )
    for line in lines:
        logger.warning("%s: %s", shown, line)
    return counts


def chosen_genes(adata: AnnData, name: str, choice: CellChoice) -> AnnData:
    """Return the chosen matrix of the chosen cells, raw or not, with genes only, by the names that lists use.

    Parameters
    ----------
    adata, name, choice
        As for :func:`chosen_counts`.

    Raises
    ------
    UserError
        If there is no such layer or column, no cell is left, or names are missing or those of cells.
    """
    adata = with_layer(adata, name, choice.layer)
    if choice.subset is not None:
        adata = _subset(adata, choice.subset, name)
    adata = _only_genes(adata, name)
    names = gene_names(adata, name, choice.gene_names)
    _check_names(names, adata.obs_names, name)
    return _renamed(adata, names)


def with_layer(adata: AnnData, name: str, layer: str | None) -> AnnData:
    """Return the AnnData whose ``X`` is a layer, or ``raw``.

    Raises
    ------
    UserError
        If there is no such layer.
    """
    import anndata

    if layer is None:
        return adata
    if layer in adata.layers:
        # With all layers: a message about what is no count names them.
        return anndata.AnnData(adata.layers[layer], obs=adata.obs, var=adata.var, layers=dict(adata.layers))
    if layer == "raw" and adata.raw is not None:
        return adata.raw.to_adata()
    layers = sorted(adata.layers) + (["raw"] if adata.raw is not None else [])
    have = f"layers: {', '.join(layers)}" if layers else "it has none: leave dataset.layer out"
    raise UserError(f"dataset.layer: {name} has no layer {layer} ({have})")


def _subset(adata: AnnData, query: str, name: str) -> AnnData:
    import numpy as np
    import pandas as pd

    have = ", ".join(map(str, adata.obs.columns)) or "none"
    try:
        fulfils = adata.obs.reset_index(drop=True).eval(query, engine="python")
    except Exception as error:  # of pandas and of Python's parser, which can be anything
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"dataset.subset={query}: not a query on obs ({reason}; columns: {have}); write it as \"cell_type == 'B'\""
        ) from error
    # What is true or false of each cell, and not a column of numbers, which pandas would take for positions.
    if np.shape(fulfils) != (adata.n_obs,) or not pd.api.types.is_bool_dtype(fulfils):
        raise UserError(
            f"dataset.subset={query}: is not true or false of each cell (columns: {have}); write it as "
            "\"cell_type == 'B'\""
        )
    kept = np.flatnonzero(pd.Series(fulfils).fillna(False).to_numpy(bool))
    if len(kept) == 0:
        raise UserError(f"dataset.subset={query}: no cell of {name} fulfils it; check the values of the column")
    logger.info("%s: %d of %d cells fulfil dataset.subset=%s", name, len(kept), adata.n_obs, query)
    return adata[kept]


def _only_genes(adata: AnnData, name: str) -> AnnData:
    """Leave out features that are not genes, such as antibodies and peaks."""
    column = next((column for column in _TYPE_COLUMNS if column in adata.var), None)
    if column is None:
        return adata
    types = adata.var[column].astype(str)
    genes = types.str.casefold().isin(_GENE_TYPES).to_numpy()
    if genes.all() or not (genes.any() or types.isin(["Peaks", "Antibody Capture", "CRISPR Guide Capture"]).all()):
        return adata
    others = ", ".join(f"{n} {kind}" for kind, n in types[~genes].value_counts().items())
    if not genes.any():
        raise UserError(f"{name}: no feature is a gene (var.{column}: {others}); give the expression of genes")
    logger.warning("%s: %d features that are not genes are left out (%s)", name, (~genes).sum(), others)
    return adata[:, genes]


def gene_names(adata: AnnData, name: str, column: str | None) -> list[str]:
    """Return the names of the genes, without blanks, quotes and a common prefix of the genome.

    Parameters
    ----------
    adata
        Cells x genes.
    name
        Name of the data for messages.
    column
        See :class:`CellChoice`.

    Raises
    ------
    UserError
        If there is no such column, or the genes are of two genomes.
    """
    ids = [str(gene) for gene in adata.var_names]
    have = ", ".join(map(str, adata.var.columns)) or "none"
    if column is not None and column != INDEX and column not in adata.var:
        raise UserError(f"dataset.gene_names: {name} has no var column {column} (columns: {have}, or index)")
    chosen = _column_of_symbols(adata, ids) if column is None else None if column == INDEX else column
    if chosen is not None:
        names = _unique(_without_ids(adata.var[chosen].tolist()), ids, name)
        if column is None:
            logger.info(
                "%s: the index holds ids such as %s, so genes are named by var.%s (dataset.gene_names=%s)",
                *(name, ids[0], chosen, chosen),
            )
    elif column == INDEX:
        names = ids
    elif ids and all(gene.isdecimal() for gene in ids):
        raise UserError(
            f"{name}: the genes are named by numbers ({', '.join(ids[:3])}, ...) and no column of var holds symbols "
            f"(columns: {have}); add one and give dataset.gene_names=COLUMN, or dataset.gene_names=index to keep them"
        )
    elif are_ensembl_ids(ids):
        names = _from_ids(ids, name)
    elif (symbols := _without_ids(ids)) != ids:
        names = _unique(symbols, ids, name)
        logger.info("%s: gene names such as %s are symbols and ids in one; the symbols are used", name, ids[0])
    else:
        names = _with_ids(adata, ids, name)
    stripped = [clean(gene) for gene in names]
    if changed := sum(a != b for a, b in zip(names, stripped, strict=True)):
        logger.warning("%s: %d gene names lost blanks or quotes around them", name, changed)
    return _without_prefix(stripped, name)


def _column_of_symbols(adata: AnnData, ids: Sequence[str]) -> str | None:
    """Return the column of ``var`` with the symbols of genes, if the index holds ids or other names."""
    columns = [str(column) for column in adata.var.columns if _has_symbols(adata.var[column])]
    named = [column for name in _SYMBOL_COLUMNS for column in columns if column.casefold() == name.casefold()]
    if are_ensembl_ids(ids) or all(gene.isdecimal() for gene in ids):
        return next(iter(named), None)
    own = share_known(ids)
    for column in named:
        values = adata.var[column].astype(str)
        if values.nunique() > _MOST * len(values) and share_known(values.tolist()) > max(_MOST, 2 * own):
            return column
    return None


def _has_symbols(column: pd.Series) -> bool:
    values = column.astype(str).tolist()
    return not are_ensembl_ids(values) and not all(value.isdecimal() or value in _NAMELESS for value in values)


def _without_ids(names: Sequence[str]) -> list[str]:
    """Return names of which most are such as ``GATA1|ENSG00000102145`` without these ids; others as they are.

    Examples
    --------
    >>> _without_ids(["GATA1|ENSG00000102145.15", "ENSG00000229807_XIST"]), _without_ids(["GATA1", "XIST"])
    (['GATA1', 'XIST'], ['GATA1', 'XIST'])
    """
    parts = [_SYMBOL_BESIDE_ID.fullmatch(str(name)) for name in names]
    if sum(map(bool, parts)) < 0.9 * len(names):
        return list(names)
    return [part[1] or part[2] if part else name for part, name in zip(parts, names, strict=True)]


def _with_ids(adata: AnnData, names: list[str], name: str) -> list[str]:
    """Return names of which repeated ones got the id of another column appended, if there is one that tells them."""
    import pandas as pd

    if len(set(names)) == len(names):
        return names
    found = next((c for c in _ID_COLUMNS if c in adata.var and adata.var[c].is_unique), None)
    return names if found is None else _unique(pd.Series(names), adata.var[found].astype(str).tolist(), name)


def _unique(column: Sequence[str] | pd.Series, ids: Sequence[str], name: str) -> list[str]:
    """Return the names of a column; one that is missing is the id, and a repeated one gets its id appended."""
    names = [identifier if clean(str(n)) in _NAMELESS else str(n) for n, identifier in zip(column, ids, strict=True)]
    if n_missing := sum(clean(str(n)) in _NAMELESS for n in column):
        logger.warning("%s: %d genes have no symbol and keep their id", name, n_missing)
    seen: set[str] = set()
    unique, repeated = [], []
    for gene, identifier in zip(names, ids, strict=True):
        if gene in seen:
            repeated.append(gene)
            gene = f"{gene}_{identifier}"
        seen.add(gene)
        unique.append(gene)
    if repeated:
        logger.warning(
            "%s: %d repeated gene symbols got their gene id appended (%s)", name, len(repeated), shortened(repeated)
        )
    return unique


def _from_ids(ids: Sequence[str], name: str) -> list[str]:
    """Return the symbols of Ensembl ids by the shipped tables; ids that have none stay."""
    tables = [table for organism in ORGANISMS if (table := symbol_table(organism)) is not None]
    symbols = [next((s for t in tables if (s := "".join(t.candidates(i)[:1]))), "") for i in ids]
    known, taken = sum(map(bool, symbols)), set()
    names = []
    for identifier, symbol in zip(ids, symbols, strict=True):
        names.append(identifier if not symbol or symbol in taken else symbol)
        taken.add(symbol)
    if known:
        logger.warning(
            "%s: genes are named by Ensembl ids; %d of %d got their symbol from the shipped tables, the others keep "
            "their id (dataset.gene_names=index keeps all)",
            *(name, sum(a != b for a, b in zip(ids, names, strict=True)), len(ids)),
        )
    return names


def _without_prefix(names: list[str], name: str) -> list[str]:
    prefixes = common_prefix(names)
    if len(prefixes) > 1:
        example = next(iter(prefixes))
        raise UserError(
            f"{name}: the genes are of {len(prefixes)} genomes ({', '.join(f'{n} {p}' for p, n in prefixes.items())}); "
            f"keep one, as in adata[:, adata.var_names.str.startswith('{example}')], and its cells"
        )
    for prefix, n in prefixes.items():
        logger.warning("%s: %d genes lost the prefix %s of their genome", name, n, prefix)
        names = [gene.removeprefix(prefix) for gene in names]
    return names


def _check_names(genes: Sequence[str], cells: pd.Index, name: str) -> None:
    """Raise UserError if a gene has no name, or genes are named as cells are."""
    nameless = [i for i, gene in enumerate(genes, 1) if gene in _NAMELESS]
    if nameless:
        more = f", and {len(nameless) - 1} more" if len(nameless) > 1 else ""
        raise UserError(f"{name}: gene {nameless[0]} has no name{more}; name or drop it and save the file again")
    cell_names = [str(cell) for cell in cells]
    barcodes = are_barcodes(genes) and not are_barcodes(cell_names)
    if barcodes or (share_known(cell_names) > 0.5 and share_known(genes) < 0.1):
        raise UserError(
            f"{name}: looks transposed: its genes are named {', '.join(genes[:2])}, which are "
            f"{'barcodes' if barcodes else 'no genes'}, and its cells {', '.join(cell_names[:2])}; give cells x genes "
            "(adata.T)"
        )


def _renamed(adata: AnnData, names: Sequence[str]) -> AnnData:
    import anndata
    import pandas as pd

    layers = {key: adata.layers[key] for key in adata.layers}
    renamed = anndata.AnnData(adata.X, obs=adata.obs, var=pd.DataFrame(index=list(names)), layers=layers)
    if adata.raw is not None:
        renamed.raw = adata.raw.to_adata()  # messages about what is no count name it
    return renamed


def _rounded(adata: AnnData, name: str) -> AnnData:
    """Round fractional counts to integers, unless they are logarithms or normalised."""
    import numpy as np

    matrix: Any = as_csr(adata.X, name).copy()
    fractional = matrix.data != np.rint(matrix.data)
    if not fractional.any() or not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        return adata
    if not is_corrected(matrix):
        return adata  # check_counts says what the values are
    before = float(matrix.data.sum())
    matrix.data = np.rint(matrix.data)
    change = 100 * (float(matrix.data.sum()) / before - 1)
    logger.info(
        "%s: %d fractional counts are rounded, which changes their sum by %.2f %%", name, fractional.sum(), change
    )
    rounded = adata.copy()
    rounded.X = matrix
    return rounded
