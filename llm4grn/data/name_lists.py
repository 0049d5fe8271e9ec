"""Lists of gene names: one per line, in one line, or a column of a table; with or without quotes and header."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from llm4grn.data.names import shortened
from llm4grn.data.symbols import share_known
from llm4grn.data.text_tables import clean, read_text, split_rows
from llm4grn.errors import UserError

# Names of columns that hold symbols, the surest first; compared without blanks, marks and case.
_COLUMNS = (
    *("symbol", "hgncsymbol", "mgisymbol", "genesymbol", "approvedsymbol", "officialsymbol", "externalgenename"),
    *(
        "tfname",
        "tfsymbol",
        "genename",
        "featurename",
        "tf",
        "tfs",
        "transcriptionfactor",
        "gene",
        "genes",
        "regulator",
    ),
)
_HEADERS = {*_COLUMNS, "x", "v1", "transcriptionfactors", "names", "tflist", "tfnames", "genelist"}
_VERDICTS = ("istf", "tfyesno", "isatf")
_TF = ("tf", "tfs", "transcriptionfactor", "transcriptionfactors")
_TITLES = {"id", "name", "family", "description", "species", "class", "score", "type", "humangene", "mousegene"}
_WORDS = {"yes", "no", "true", "false"}  # "T" is a gene, too
_YES = {"yes", "y", "true", "t", "1", "1.0"}
_NO = {"no", "n", "false", "f", "0", "0.0"}
#: What a list may look like, for messages.
EXPECTED = "expected one gene symbol per line, or a tab- or comma-separated table with a column Symbol (AnimalTFDB)"


@dataclass(frozen=True)
class NameList:
    """The names in a file, and what became of the entries that are not among them.

    Parameters
    ----------
    names
        Names in their order, each once.
    n_entries
        Number of entries: lines, fields or rows.
    repeated, left_out
        Entries that repeat an earlier one; that a column such as ``Is TF?`` denies, or that are empty.
    stripped
        Number of entries that lost blanks or quotes around them.
    column
        Name of the column that was read; empty for a plain list.
    """

    names: tuple[str, ...]
    n_entries: int
    repeated: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=())
    stripped: int = 0
    column: str = ""

    def report(self) -> str:
        """Return one line that accounts for every entry.

        Examples
        --------
        >>> read_names(["GATA1", '"SPI1"', "GATA1"]).report()
        '2 names (of 3 entries, 1 repeat an earlier one, 1 lost blanks or quotes)'
        """
        parts = [f"of {self.n_entries} entries" + (f" in the column {self.column}" if self.column else "")]
        if self.repeated:
            parts.append(f"{len(self.repeated)} repeat an earlier one")
        if self.left_out:
            named = [name for name in self.left_out if name]
            example = f" ({shortened(named)})" if named else ""
            parts.append(f"{len(self.left_out)} are empty or called no TF and left out{example}")
        if self.stripped:
            parts.append(f"{self.stripped} lost blanks or quotes")
        return f"{len(self.names)} names ({', '.join(parts)})"


def read_name_file(path: str | Path) -> NameList:
    """Read the names in a file, which may be gzip-compressed.

    Raises
    ------
    UserError
        If the file cannot be read, is empty, or is no list. The message does not name the file.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):  # JSON
        with suppress(ValueError):
            names = json.loads(text)
            if names and all(isinstance(name, str) for name in names):
                return read_names([name.replace("\n", " ") for name in names])
    return read_names(text.splitlines())


def read_names(lines: Sequence[str]) -> NameList:
    """Read the names in lines of text; empty lines, and those that begin with ``#``, are skipped, and so are
    remarks behind one.

    Raises
    ------
    UserError
        If there is no name, a line is a sentence, or no column of a table can be told to hold symbols.

    Examples
    --------
    >>> read_names([",HGNC symbol,Is TF?", "0,GATA1,Yes", "1,ACTB,No"]).names
    ('GATA1',)
    >>> read_names(["GATA1, SPI1, PAX5"]).names
    ('GATA1', 'SPI1', 'PAX5')
    """
    lines = [re.sub(r"\s#.*", "", line) for line in lines if line.strip() and not line.lstrip().startswith(("#", "//"))]
    if any(re.match(r"\s*1[.)]\s", line) for line in lines[:2]):
        lines = [re.sub(r"^\s*\d+[.)]\s+", "", line) for line in lines]  # numbered
    if not lines:
        raise UserError("no symbol in it")
    # A tab before or behind a name is a stray blank, and no empty field.
    rows, separator = split_rows([line if "\t" in line.strip() else line.strip() for line in lines])
    if separator == " " and not _is_table(rows[0]):
        # Blanks inside a line of a plain list: a sentence, unless R wrote a number before each name.
        rows = [_one_name(row) for row in rows]
        lines = [row[0] for row in rows]
        if len(rows) == 1 and len(names := rows[0][0].split()) > 2 and share_known(names) > 0.5:
            rows = [names]
    if max(map(len, rows)) == 1:
        return _plain(lines, [row[0] if row else "" for row in rows])
    if len(rows) == 1:
        entries = [clean(entry.strip("[]()")) for entry in rows[0]]
        if _is_table(rows[0]) and not share_known(entries):  # the header of an empty table
            raise UserError("no symbol in it")
        return _collected(entries, [True] * len(entries), 0, "")
    return _column(rows)


def _one_name(row: list[str]) -> list[str]:
    """Return the name in a line of blanks: behind a number, as R writes it, or before a score; else the whole line."""
    if len(row) == 2 and row[0].isdigit():
        return row[1:]
    if len(row) == 2 and re.fullmatch(r"-?\d*\.\d+(e-?\d+)?|\d+e-?\d+", row[1], re.IGNORECASE):
        return row[:1]
    return [" ".join(row)]


def _plain(lines: Sequence[str], entries: list[str]) -> NameList:
    if _header(entries[0]) in _HEADERS and len(entries) > 0:
        lines, entries = lines[1:], entries[1:]
    entries = [entry.rstrip(",;") for entry in entries]
    invalid = next((entry for entry in entries if re.search(r"[\s,;]", entry)), None)
    if invalid is not None:
        raise UserError(f"the line {invalid[:60]!r} is not one gene symbol")
    stripped = sum(line.rstrip("\r\n") != entry for line, entry in zip(lines, entries, strict=True))
    return _collected(entries, [True] * len(entries), stripped, "")


def _column(rows: list[list[str]]) -> NameList:
    width = Counter(map(len, rows[1:])).most_common(1)[0][0]
    header = ["", *rows[0]] if len(rows[0]) == width - 1 else rows[0]  # R's row names have no header
    names = [_header(name) for name in header]
    verdict = _column_of_verdicts(names, rows)
    at = next((i for n in (*_COLUMNS, "x", "v1") for i, have in enumerate(names) if have == n and i != verdict), None)
    if at is None:
        at = _column_of_symbols(rows, verdict)
        if at is None:
            raise UserError(f"no column Symbol among {', '.join(rows[0][:6])}")
        is_header = _is_header(rows[0])
        body, title = rows[is_header:], rows[0][at] if is_header else f"{at + 1}"
    else:
        body, title = rows[1:], header[at]
    entries = [row[at] if len(row) > at else "" for row in body]
    wanted = [
        verdict is None or len(row) <= verdict or not row[verdict] or row[verdict].casefold() in _YES for row in body
    ]
    return _collected(entries, wanted, 0, title)


def _column_of_verdicts(names: Sequence[str], rows: list[list[str]]) -> int | None:
    """Return the position of the column that says which genes are TFs, by its name; in a table without one, of yes and
    no."""
    said = [{row[at].casefold() for row in rows[1:] if len(row) > at} - {""} for at in range(len(names))]
    verdicts = [at for at, words in enumerate(said) if words and words <= _YES | _NO]
    by_name = [at for at, name in enumerate(names) if name in _VERDICTS]
    by_name += [at for at in verdicts if names[at] in _TF]
    if not by_name and not _is_header(rows[0]):
        by_name = [at for at in verdicts if said[at] <= _WORDS and rows[0][at].casefold() in _WORDS]
    return next(iter(by_name), None)


def _is_header(row: Sequence[str]) -> bool:
    return any(_header(cell) in _HEADERS | _TITLES for cell in row)


def _column_of_symbols(rows: list[list[str]], verdict: int | None = None) -> int | None:
    """Return the position of the column that holds mostly known symbols; None if there is none.

    With a header, which does not say which of several it is, there must be one only.
    """
    shares, is_header = {}, _is_header(rows[0])
    for at in range(min(map(len, rows))):
        column = [row[at] for row in rows[is_header:]]
        if at != verdict and len(column) > 1 and not column[0].startswith("ENS"):
            shares[at] = share_known(column)
    best, second, *_ = *sorted(shares, key=lambda at: (-shares[at], at)), -1, -1
    share = shares.get(best, 0.0)
    return best if share > 0.5 and (not is_header or share > 2 * shares.get(second, 0.0)) else None


def _collected(entries: Sequence[str], wanted: Sequence[bool], stripped: int, column: str) -> NameList:
    names: dict[str, None] = {}
    repeated, left_out = [], []
    for entry, is_wanted in zip(entries, wanted, strict=True):
        if not entry or not is_wanted:
            left_out.append(entry)
        elif entry in names:
            repeated.append(entry)
        else:
            names[entry] = None
    if not names:
        raise UserError("no symbol in it")
    return NameList(tuple(names), len(entries), tuple(repeated), tuple(left_out), stripped, column)


def _is_table(header: Sequence[str]) -> bool:
    return any(_header(name) in _COLUMNS for name in header)


def _header(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()
