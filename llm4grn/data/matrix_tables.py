"""Counts as text: genes x cells or cells x genes, with any separator, quoted or not, compressed or not."""

from __future__ import annotations

import csv
import gzip
import logging
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llm4grn.data.hdf5_files import one_line
from llm4grn.data.names import shortened
from llm4grn.data.symbols import are_barcodes, share_known
from llm4grn.data.text_tables import GZIP_MAGIC, clean, decoded
from llm4grn.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

_CHUNK = 2000  # rows in memory at once
_SEPARATORS = "\t", ",", ";", "|", " "
_SAMPLE = 30  # lines are enough to see how a table is written
_MOST_TITLES = 5  # lines above the table
# Sums and descriptions that tools write among the counts, and that are no genes or cells.
_NO_GENE = re.compile(
    r"__(no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique)|N_(unmapped|multimapping|noFeature|"
    r"ambiguous)|total|sum|n_?umis?|n_?genes?(_by_counts)?|n(Count|Feature)_\w+|(log1p_)?(total|n)_(counts|umis?|genes?)"
    r"\w*|(pct|percent)[._]\w+|\w*clusters?|leiden|louvain|labels?|batch|sample|group|cell_?types?|orig\.ident|"
    r"(S|G2M)[._]score",
    re.IGNORECASE,
)
_NO_CELL = re.compile(
    r"length|width|chr(om(osome)?)?|strand|total|sum|mean|average|gc(_content)?|(entrez|gene)[_ ]?id|"
    r"description",
    re.IGNORECASE,
)
_PLACE = re.compile(r"chr.*|strand|length", re.IGNORECASE)  # beside them, start and end are no cells either
_MISSING = ("", "NA", "NaN", "nan")
_CORNERS = {"gene", "genes", "symbol", "gene_id", "gene_name", "gene_symbol", "id", "index", "name", "feature"}
_CORNERS |= {"cell", "cells", "cell_id", "barcode", "barcodes", "geneid"}
_WITH_COMMA = re.compile(r"-?\d*(,\d+)+")
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+")
GenesIn = Literal["auto", "rows", "columns"]


@dataclass(frozen=True)
class _Layout:
    """How a table is written: the lines above its header, and how its first lines split into fields."""

    n_skipped: int
    header: list[str]
    rows: list[list[str]]  # some lines below the header
    separator: str
    encoding: str

    @property
    def width(self) -> int:
        return len(self.rows[0])

    @cached_property
    def texts(self) -> list[int]:
        """Positions of the columns that are text in most rows: the names, and what describes them."""
        columns = enumerate(zip(*self.rows, strict=True))
        return [i for i, column in columns if not i or _is_text(column)]

    @cached_property
    def titles(self) -> list[str]:
        """Names of all columns; that of the first is empty where the header is one field short."""
        return [""] * (self.width - len(self.header)) + self.header

    @property
    def decimal(self) -> str:
        """The decimal mark: a comma, if one in a number cannot separate thousands."""
        texts = set(self.texts)
        values = (row[i] for row in self.rows for i in range(self.width) if i not in texts)
        return "," if any(_WITH_COMMA.fullmatch(v) and not _THOUSANDS.fullmatch(v) for v in values) else "."


def read_matrix_table(path: Path, field: str, genes_in: GenesIn = "auto") -> AnnData:
    """Read a table of counts, of which the first row and the first column are names.

    The header may be one field short, as R writes it. Columns between the names and the counts, such as gene ids, are
    kept in ``var`` or ``obs``, and so are numbers that describe genes or cells by the names of their columns. Titles
    above the table, and lines there that begin with ``#``, are skipped.

    Parameters
    ----------
    path
        Text file, gzip-compressed or not, in UTF-8, UTF-16 or Latin-1.
    field
        Config field of the path, for messages.
    genes_in
        Whether ``rows`` or ``columns`` are genes; ``auto`` recognises it from known symbols, Ensembl ids and barcodes.

    Raises
    ------
    UserError
        If the file is no table of numbers, has no names, or its orientation cannot be recognised.
    """
    import anndata
    import numpy as np
    import pandas as pd

    layout = _layout(path, field)
    texts = set(layout.texts)
    columns = [layout.titles[i] for i in range(layout.width) if i not in texts]
    matrix, beside = _contents(path, field, layout, columns)
    rows = list(beside.index)
    for names, what in (columns, "line"), (rows, "column"):
        if _are_values(names):
            raise UserError(
                f"{field}: {path} holds numbers ({', '.join(names[:3])}, ...) and no names in its first {what}; write "
                "the names of its rows and columns, too"
            )
    genes_are_rows = _genes_are_rows(rows, columns, genes_in, path, field)
    what = "genes" if genes_are_rows else "cells"
    keep_rows = _are_genes(rows) if genes_are_rows else _are_cells(rows, ())
    keep_columns = _are_cells(columns, layout.titles) if genes_are_rows else _are_genes(columns)
    for at in np.flatnonzero(~keep_columns):
        beside[columns[at]] = matrix[:, at].toarray().ravel()
    beside = beside.loc[:, ~beside.columns.duplicated()]
    if left_out := list(beside.index[~keep_rows]):
        logger.warning("%s: %d rows are no %s and left out (%s)", path, len(left_out), what, shortened(left_out))
    if titles := list(beside.columns):
        logger.warning("%s: %d columns are no counts and describe the %s (%s)", path, len(titles), what,
                       shortened(titles))  # fmt: skip
    matrix = matrix[np.flatnonzero(keep_rows)][:, np.flatnonzero(keep_columns)]
    along, across = beside[keep_rows], pd.DataFrame(index=np.array(columns, dtype=object)[keep_columns])
    obs, var = (across, along) if genes_are_rows else (along, across)
    logger.info("%s: %d genes in its %s, %d cells", path, len(var), "rows" if genes_are_rows else "columns", len(obs))
    return anndata.AnnData(matrix.T.tocsr() if genes_are_rows else matrix, obs=obs, var=var)


def _contents(path: Path, field: str, layout: _Layout, columns: Sequence[str]) -> tuple[csr_matrix, pd.DataFrame]:
    """Return the numbers of a table, and its text as columns behind the names of its rows."""
    import pandas as pd
    from scipy.sparse import csr_matrix, vstack

    are_texts = layout.texts
    numbers = sorted(set(range(layout.width)) - set(are_texts))
    blocks, rows, texts = [], [], []
    try:
        for chunk in pd.read_csv(
            path,
            sep=layout.separator,
            decimal=layout.decimal,
            header=None,
            skiprows=layout.n_skipped + 1,
            usecols=range(layout.width),
            chunksize=_CHUNK,
            compression="gzip" if _is_gzip(path) else None,
            dtype=dict.fromkeys(are_texts, str),
            keep_default_na=False,
            na_values={i: list(_MISSING) for i in numbers},  # type: ignore[misc]
            skipinitialspace=True,
            encoding=layout.encoding,
        ):
            rows += [clean(name) for name in chunk[0].astype(str)]
            texts.append(chunk[are_texts[1:]])
            blocks.append(csr_matrix(_numbers(chunk[numbers], columns, rows[-len(chunk) :])))
    except UserError as error:
        raise UserError(f"{field}: {path}: {error}") from error
    except (OSError, EOFError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise UserError(
            f"{field}: {path} is no table of counts ({one_line(error)}); copy or export it again"
        ) from error
    table = pd.concat(texts).set_axis([layout.titles[i] for i in are_texts[1:]], axis=1).set_axis(rows, axis=0)
    return vstack(blocks, format="csr"), table.apply(lambda text: text.map(clean))


def _layout(path: Path, field: str) -> _Layout:
    """Find how a table is written from its first lines."""
    lines, numbers, encoding = _first_lines(path, field)
    if len(lines) < 2:
        raise UserError(f"{field}: {path} is no table of counts: it needs a line of names and lines of counts")
    found = []
    for separator in _SEPARATORS:
        if not any(separator in line for line in lines):
            continue
        try:
            rows = [
                [clean(text) for text in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
                for line in lines
            ]
        except csv.Error:  # a field of more than 131,072 letters: this is not the separator
            continue
        for start in range(min(_MOST_TITLES + 1, len(rows) - 1)):
            header, body = _trimmed(rows[start], rows[start + 1 :])
            fits = len(body[0]) > 1 and len(header) > 1 and len(header) in (len(body[0]), len(body[0]) - 1)
            if (fits or (len(header) == 1 and len(body[0]) == 2)) and _has_numbers(body[0]):
                found.append((start, separator, header, body, rows[:start]))
                break
    if not found:
        raise UserError(f"{field}: {path} is no table of counts: {_why_not(lines)}")
    start, separator, header, body, above = min(found, key=lambda each: each[0])
    if any(len(row) > 1 and len(row) >= len(header) - 1 for row in above):
        raise UserError(
            f"{field}: {path} has more than one line of names ({', '.join(above[0][:3])}, ...; "
            f"{', '.join([*above, header][1][:3])}, ...); keep the one that names cells or genes"
        )
    if above:
        logger.warning("%s: %d lines above the table are skipped", path, start)
    return _Layout(numbers[start], header, [row for row in body if len(row) == len(body[0])], separator, encoding)


def _first_lines(path: Path, field: str) -> tuple[list[str], list[int], str]:
    """Return the first lines that are neither empty nor comments, how many lines precede each, and the encoding."""
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            content = b"".join(file.readline() for _ in range(_SAMPLE))
        text, encoding = decoded(content[: len(content) // 2 * 2] if content[:1] in (b"\xff", b"\xfe") else content)
    except (OSError, EOFError, UserError) as error:
        raise UserError(
            f"{field}: {path} is neither a table of text nor of any other known format ({one_line(error)}); "
            f"give .h5ad, 10x .h5 or folder, .loom, .h5mu, .zarr, or a table of counts"
        ) from error
    lines: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text)[:_SAMPLE]):  # as pandas counts lines
        if line.strip() and (lines or not line.startswith("#")):
            lines.append(line)
            numbers.append(number)
    return lines, numbers, encoding


def _trimmed(header: list[str], body: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the fields without those that a separator at the end of lines adds."""
    while len(header) > 1 and not header[-1]:
        header = header[:-1]
    is_short = header[0] != "" and header[0].casefold() not in _CORNERS  # as R writes it
    least = max(len(header) + is_short, 2)
    while len(body[0]) > least and not any(row[-1] for row in body if len(row) == len(body[0])):
        body = [row[:-1] if len(row) == len(body[0]) else row for row in body]
    return header, body


def _why_not(lines: Sequence[str]) -> str:
    """Say what keeps lines of text from being a table of counts."""
    shown = " | ".join(" ".join(line.split())[:40] for line in lines[:2])
    values = {value.strip("\"'").casefold() for value in re.split(r"[\t,; ]", lines[1])[1:]}
    if values and values <= {"true", "false"}:
        return "its values are TRUE and FALSE; give counts"
    return (
        "no separator (tab, comma, semicolon, bar, blank) splits its first lines into a line of names and lines of a "
        f"name and numbers ({shown}); remove what stands above or beside the table"
    )


def _is_text(column: Sequence[str]) -> bool:
    """Return True if most values of a column that are not missing are text."""
    values = [value for value in column if value not in _MISSING]
    return 2 * sum(not _is_number(value) for value in values) > len(values)


def _has_numbers(row: Sequence[str]) -> bool:
    """Return True if a number stands at the end of a row, or most of it are numbers."""
    return bool(row[-1] and _is_number(row[-1])) or sum(map(_is_number, row[1:])) > (len(row) - 1) / 2


def _are_values(names: Sequence[str]) -> bool:
    """Return True for what stands in the place of names if a table was written without them: repeated numbers."""
    n_numbers = sum(_is_number(name) and name != "" for name in names)
    return n_numbers > len(names) / 2 and len(set(names)) < len(names)


def _are_genes(names: Sequence[str]) -> np.ndarray:
    """Return the mask of the names that are not sums or descriptions of cells."""
    import numpy as np

    return np.array([not _NO_GENE.fullmatch(name) or share_known([name]) > 0 for name in names], dtype=bool)


def _are_cells(names: Sequence[str], titles: Sequence[str]) -> np.ndarray:
    """Return the mask of the names that are not sums or descriptions of genes, among all columns of these titles."""
    import numpy as np

    ends = {"start", "end"} if any(map(_PLACE.fullmatch, titles)) else set()
    return np.array([not _NO_CELL.fullmatch(name) and name.casefold() not in ends for name in names], dtype=bool)


def _numbers(block: pd.DataFrame, columns: Sequence[str], rows: Sequence[str]) -> np.ndarray:
    """Return the values of a block, in which commas may separate thousands, or name the first that is no number."""
    import pandas as pd

    block = block.copy()
    for at, name in enumerate(block):
        values = block[name]
        if values.dtype.kind not in "iufb":
            text = values.astype(str)
            is_thousands = text.str.fullmatch(_THOUSANDS)
            numbers = pd.to_numeric(text.where(~is_thousands, text.str.replace(",", "")), errors="coerce")
            wrong = (numbers.isna() & values.notna()).to_numpy()
            if wrong.any():
                row = int(wrong.argmax())
                raise UserError(
                    f"{text.iloc[row][:30]!r} in row {rows[row]}, column {columns[at]} is no number; give raw counts"
                )
            block[name] = numbers
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
    if text in _MISSING:
        return True
    try:
        float(text.replace(",", ".", 1))
    except ValueError:
        return False
    return True
