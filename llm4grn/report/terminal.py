"""Render a table as plain text of limited width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import product

from llm4grn.report.blocks import Cell, Table

TERMINAL_WIDTH = 100
_LABEL_WIDTHS = (34, 24)
_ENTRY_WIDTH = 50
_LEAST_HEADER = 10
_MOST_HEADINGS = 3
_GAP = "  "
_MARKS = {"*": "bold", "+": "underlined"}


def to_terminal(table: Table, width: int = TERMINAL_WIDTH) -> str:
    """Return plain text of at most ``width`` columns.

    If the table is wider, its labels become headings and its numbers are split into several blocks. A ``*`` after an
    entry stands for bold, a ``+`` for underlined.
    """
    rows = cells_of(table)
    labels = [[cell.text for cell in row[: table.n_labels]] for row in rows]
    entries = _with_marks([row[table.n_labels :] for row in rows])
    whole = [[*names, *values] for names, values in zip(without_repeats(labels), entries, strict=True)]
    if _total(_widths(table.header, whole)) <= width:
        body = "\n".join(_lines(table.header, whole, table.n_labels))
    else:
        body = _in_blocks(table.header[table.n_labels :], labels, entries, width)
    used = "".join(_mark(cell) for row in rows for cell in row)
    legend = " ".join(f"{mark} = {meaning}." for mark, meaning in _MARKS.items() if mark in used)
    notes = [legend, *table.lines_below] if legend else table.lines_below
    filled = "\n".join(textwrap.fill(note, width, subsequent_indent="  ") for note in notes)
    return "\n\n".join(part for part in (textwrap.fill(table.title, width), body, filled) if part) + "\n"


def aligned(rows: Sequence[Sequence[str]], left: int = 1, rule: bool = True) -> str:
    """Return short texts as aligned columns, of whatever width they need.

    Parameters
    ----------
    rows
        The first row is the header.
    left
        Number of columns that are aligned to the left; the others are aligned to the right.
    rule
        Whether a line of dashes follows the header.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        padded = [cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(cells)]
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join([lines[0], *(["-" * _total(widths)] if rule else []), *lines[1:]])


def cells_of(table: Table) -> list[list[Cell]]:
    """Return the rows with plain strings converted to cells."""
    return [[entry if isinstance(entry, Cell) else Cell(entry) for entry in row] for row in table.rows]


def without_repeats(labels: Sequence[Sequence[str]]) -> list[list[str]]:
    """Blank each label that, with all labels to its left, repeats the row above; the last label always stays."""
    shown: list[list[str]] = []
    above: Sequence[str] = ()
    for names in labels:
        same = 0
        while above and same < len(names) - 1 and names[same] == above[same]:
            same += 1
        shown.append([""] * same + list(names[same:]))
        above = names
    return shown


def _mark(cell: Cell) -> str:
    return "".join(mark for mark, applies in zip(_MARKS, (cell.bold, cell.underlined), strict=True) if applies)


def _with_marks(rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
    """Return the texts of the entries; in a column with marks, entries without are padded so that digits align."""
    marked = [[_mark(cell) for cell in row] for row in rows]
    longest = [max(map(len, column)) for column in zip(*marked, strict=True)]
    return [
        [cell.text + mark.ljust(length) for cell, mark, length in zip(row, marks, longest, strict=True)]
        for row, marks in zip(rows, marked, strict=True)
    ]


def _in_blocks(
    header: Sequence[str], labels: Sequence[Sequence[str]], entries: Sequence[Sequence[str]], width: int
) -> str:
    """Return blocks of as many columns of entries as fit side by side, with the first labels as headings."""
    depth = min(_MOST_HEADINGS, len(labels[0]) - 1) if labels else 0
    indent = 2 if depth else 0
    names = [" / ".join(part for part in row[depth:] if part) for row in labels]
    short = [textwrap.fill(name, _LABEL_WIDTHS[-1]) for name in names]
    blocks: list[str] = []
    start = 0
    while start < len(header) or not blocks:
        for end, shown in product(range(len(header), start, -1), (names, short)):
            part = ["", *header[start:end]], [[n, *row[start:end]] for n, row in zip(shown, entries, strict=True)]
            if _total(_widths(*part)) <= width - indent:
                break
        blocks.append("\n".join(_lines(*part, 1, _headings(labels, depth, width), indent)))
        start = end
    return "\n\n".join(blocks)


def _headings(labels: Sequence[Sequence[str]], depth: int, width: int) -> list[list[str]]:
    """Return the heading lines before each row.

    They are the first ``depth`` labels, where these change; a blank line comes first where the first label changes.
    """
    headings: list[list[str]] = []
    above: Sequence[str] = ()
    for row in labels:
        head = list(row[:depth])
        blank = [""] if headings and head[:1] != list(above[:1]) else []
        heading = textwrap.wrap(" · ".join(part for part in head if part), width)
        headings.append([*blank, *heading] if head != above else [])
        above = head
    return headings


def _lines(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    n_labels: int,
    headings: Sequence[Sequence[str]] = (),
    indent: int = 0,
) -> list[str]:
    """Return the lines of header, rule and rows with their headings; labels are left-aligned, entries right-aligned."""
    widths = _widths(header, rows)
    shown: list[str] = []
    for number, row in enumerate([header, *rows]):
        shown += headings[number - 1] if headings and number else []
        cells = [_wrapped(text, width) for text, width in zip(row, widths, strict=True)]
        for i in range(max(map(len, cells))):
            parts = [lines[i] if i < len(lines) else "" for lines in cells]
            padded = [
                part.ljust(width) if column < n_labels else part.rjust(width)
                for column, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            shown.append((" " * indent + _GAP.join(padded)).rstrip())
        if number == 0:
            shown.append("-" * (indent + _total(widths)))
    return shown


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column; a header wider than the entries is wrapped, and so are very long entries."""
    widths = []
    for i, name in enumerate(header):
        most = _LABEL_WIDTHS[0] if i == 0 else _ENTRY_WIDTH
        body = max((len(line) for row in rows for line in _wrapped(row[i], most)), default=0)
        head = textwrap.wrap(name, max(body, _LEAST_HEADER), break_long_words=False)
        widths.append(max(body, *map(len, head), 0))
    return widths


def _wrapped(text: str, width: int) -> list[str]:
    # Text that fits is not passed to textwrap, which would drop the blanks that align digits.
    return [
        piece for line in text.split("\n") for piece in ([line] if len(line) <= width else textwrap.wrap(line, width))
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)
