"""Text files as people have them: compressed or not, in several encodings, with any separator, quoted or not."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llm4grn.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"
_SEPARATORS = "\t", ";", ",", "|"  # a comma may be a decimal one between semicolons
_SAMPLE = 50  # lines are enough to find the separator
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


def read_text(path: str | Path) -> str:
    """Return the text of a file, which may be gzip-compressed, and in UTF-8, UTF-16 with its mark, or Latin-1.

    Raises
    ------
    UserError
        If the file cannot be read or holds no text. The message does not name the file: its reader knows by which
        option it was given.
    """
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a name with a null byte
        raise UserError(f"cannot be read ({error})") from error
    if content.startswith(GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"not a text file: it begins as gzip and does not unpack ({error})") from error
    return decoded(content)[0]


def decoded(content: bytes) -> tuple[str, str]:
    """Return the text of some bytes, and its encoding: UTF-16 with its mark, UTF-8, or Latin-1.

    Raises
    ------
    UserError
        If they are no text.
    """
    encodings = ["utf-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "latin-1"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            return text, encoding
    raise UserError("not a text file")


def split_rows(lines: Sequence[str]) -> tuple[list[list[str]], str | None]:
    """Split lines into fields, of which blanks and quotes around them are stripped.

    The separator is the first of tab, semicolon, comma and bar that splits the first lines into equally many fields;
    failing that, the one that does so for most lines; failing that, blanks. A header may be one field short, as R
    writes it.

    Returns
    -------
    rows
        Fields of each line; lines without any text are left out.
    separator
        The separator; None if there is one field per line.

    Raises
    ------
    UserError
        If a quote is opened and not closed.

    Examples
    --------
    >>> split_rows(['"TF";"target"', '"1";"SPI1";"CD14"'])
    ([['TF', 'target'], ['1', 'SPI1', 'CD14']], ';')
    """
    lines = [line for line in lines if line.strip()]
    separator = _separator(lines[:_SAMPLE])
    if separator is None:
        return [[clean(line)] for line in lines], None
    if separator == " ":
        return [[clean(field) for field in re.findall(r'"[^"]*"|\'[^\']*\'|\S+', line)] for line in lines], " "
    try:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=False))
    except csv.Error as error:
        raise UserError(f"not a table ({error})") from error
    if len(rows) != len(lines):  # an open quote swallows the lines that follow
        rows = [line.split(separator) for line in lines]
    return [[clean(field) for field in row] for row in rows], separator


def clean(name: str) -> str:
    """Return a name without blanks and quotes around it.

    Examples
    --------
    >>> clean(' "GATA1" '), clean("'SPI1'"), clean("5'UTR")
    ('GATA1', 'SPI1', "5'UTR")
    """
    name = name.strip().strip("\ufeff\u200b\xa0").strip()
    while len(name) > 1 and name[0] == name[-1] and name[0] in "\"'`":
        name = name[1:-1].strip()
    return name.strip('"')


def _separator(lines: Sequence[str]) -> str | None:
    shares = {}
    for separator in _SEPARATORS if lines else ():
        widths = [len(line.split(separator)) for line in lines]
        (width, n), *_ = Counter(widths[1:] or widths).most_common(1)
        fit = 0.9
        if widths[0] == width - 1:  # R's header; that of one column has no separator, and rarely is one
            fit = 1.0 if widths[0] > 1 else 0.95
        elif widths[0] == width:
            fit = 1.0
        if width > 1:
            shares[separator] = n / max(len(widths) - 1, 1) * fit
    best = max(shares.values(), default=0.0)
    # A separator inside the fields of another, as commas in a description, splits the lines unequally.
    if best > 0:
        return next(separator for separator, share in shares.items() if share == best)
    widths = [len(line.split()) for line in lines] or [0]
    body = set(widths[1:] or widths)
    return " " if len(body) == 1 and max(body) > 1 and widths[0] in (max(body), max(body) - 1) else None
