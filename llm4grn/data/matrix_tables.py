"""Counts as text: genes x cells or cells x genes, with any separator, quoted or not, compressed or not."""

from __future__ import annotations

import csv
import gzip
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm4grn.data.hdf5_files import one_line
from llm4grn.data.symbols import are_barcodes, share_known
from llm4grn.data.text_tables import GZIP_MAGIC, clean
from llm4grn.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

logger = logging.getLogger(__name__)

_CHUNK = 2000  # rows in memory at once
GenesIn = Literal["auto", "rows", "columns"]


def read_matrix_table(path: Path, field: str, genes_in: GenesIn = "auto") -> AnnData:
    """Read a table of counts, of which the first row and the first column are names.

    The header may be one field short, as R writes it. Text columns between the names and the counts, such as gene ids,
    are left out and named. Lines before the table that begin with ``#`` are skipped.

    Parameters
    ----------
    path
        Text file, gzip-compressed or not.
    field
        Config field of the path, for messages.
    genes_in
        Whether ``rows`` or ``columns`` are genes; ``auto`` recognises it from known symbols, Ensembl ids and barcodes.

    Raises
    ------
    UserError
        If the file is no table of numbers, or its orientation cannot be recognised.
    """
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix, vstack

    n_skipped, header, first, separator = _beginning(path, field)
    n_texts = next((i for i, text in enumerate(first[1:], 1) if _is_number(text)), len(first))
    columns = header[len(header) - (len(first) - n_texts) :]
    if len(header) not in (len(first), len(first) - 1) or not columns:
        raise UserError(
            f"{field}: {path} is no table of counts: its first line has {len(header)} fields, its second {len(first)}"
        )
    blocks, rows = [], []
    try:
        for chunk in pd.read_csv(
            path,
            sep=separator,
            header=None,
            skiprows=n_skipped + 1,
            chunksize=_CHUNK,
            compression="gzip" if _is_gzip(path) else None,
            dtype=dict.fromkeys(range(n_texts), str),
            keep_default_na=False,
            na_values={i: ["", "NA", "NaN", "nan"] for i in range(n_texts, len(first))},  # type: ignore[misc]
            skipinitialspace=True,
            encoding="utf-8-sig",
        ):
            rows += [clean(name) for name in chunk[0].astype(str)]
            blocks.append(csr_matrix(_numbers(chunk.iloc[:, n_texts:], columns, rows[-len(chunk) :])))
    except UserError as error:
        raise UserError(f"{field}: {path}: {error}") from error
    except (OSError, EOFError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise UserError(
            f"{field}: {path} is no table of counts ({one_line(error)}); copy or export it again"
        ) from error
    if n_texts > 1:
        logger.warning("%s: %d columns of text behind the names are left out", path, n_texts - 1)
    genes_are_rows = _genes_are_rows(rows, columns, genes_in, path, field)
    matrix = vstack(blocks, format="csr")
    matrix = matrix.T.tocsr() if genes_are_rows else matrix
    genes, cells = (rows, columns) if genes_are_rows else (columns, rows)
    logger.info(
        "%s: %d genes in its %s, %d cells", path, len(genes), "rows" if genes_are_rows else "columns", len(cells)
    )
    return anndata.AnnData(matrix, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=genes))


def _beginning(path: Path, field: str) -> tuple[int, list[str], list[str], str]:
    """Return the number of lines to skip, the fields of the header and of the first row, and the separator."""
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") if _is_gzip(path) else path.open(encoding="utf-8-sig") as file:
            lines: list[str] = []
            n_skipped = 0
            for line in file:
                if not lines and (line.startswith("#") or not line.strip()):
                    n_skipped += 1
                elif len(lines) < 2:
                    lines.append(line.rstrip("\r\n"))
                else:
                    break
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(
            f"{field}: {path} is neither a table of text nor of any other known format ({one_line(error)}); "
            f"give .h5ad, 10x .h5 or folder, .loom, .h5mu, .zarr, or a table of counts"
        ) from error
    if len(lines) < 2 or "\0" in lines[0]:
        raise UserError(f"{field}: {path} is no table of counts: it needs a line of names and lines of counts")
    for separator in ("\t", ",", ";", " "):
        header, first = (next(csv.reader([line], delimiter=separator, skipinitialspace=True)) for line in lines)
        if len(first) > 1 and len(header) in (len(first), len(first) - 1):
            return n_skipped, [clean(name) for name in header], [clean(text) for text in first], separator
    raise UserError(
        f"{field}: {path} is no table of counts: no separator (tab, comma, semicolon, blank) gives its first two lines "
        "the same number of fields"
    )


def _numbers(block: Any, columns: Sequence[str], rows: Sequence[str]) -> Any:
    """Return the values of a block, or name the first that is no number."""
    for at, column in enumerate(block):
        if block[column].dtype.kind not in "iufb":
            wrong = [not _is_number(str(value)) for value in block[column]]
            row = wrong.index(True) if True in wrong else 0
            value = str(block[column].iloc[row])[:30]
            raise UserError(f"{value!r} in row {rows[row]}, column {columns[at]} is no number; give raw counts")
    return block.to_numpy()


def _genes_are_rows(rows: Sequence[str], columns: Sequence[str], genes_in: str, path: Path, field: str) -> bool:
    if genes_in != "auto":
        return genes_in == "rows"
    known = share_known(rows), share_known(columns)
    barcodes = are_barcodes(rows), are_barcodes(columns)
    if barcodes[0] != barcodes[1]:
        return barcodes[1]
    if max(known) > 0.2 and max(known) > 2 * min(known):
        return known[0] > known[1]
    raise UserError(
        f"{field}: {path} has the rows {', '.join(rows[:3])}, ... and the columns {', '.join(columns[:3])}, ...: it is "
        "not clear which are genes; add dataset.genes_in=rows or dataset.genes_in=columns"
    )


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def _is_number(text: str) -> bool:
    if text in ("", "NA", "NaN", "nan"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
