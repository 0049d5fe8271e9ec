"""Render a table as text: for the terminal, in Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO

from llm4grn.report.blocks import Cell, Table
from llm4grn.report.latex import to_latex
from llm4grn.report.terminal import cells_of, to_terminal

#: Text of an entry without a value.
MISSING = "–"


def to_markdown(table: Table) -> str:
    """Return a heading, the table with every label in full, and the notes as a list."""
    rows = [list(table.header), ["---"] * table.n_labels + ["---:"] * (len(table.header) - table.n_labels)]
    rows += [[_markdown(cell) for cell in row] for row in cells_of(table)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    parts = [f"**{table.title}**", "\n".join(lines), "\n".join(f"- {note}" for note in table.lines_below)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_csv(table: Table) -> str:
    """Return one line per row, with values instead of texts where an entry has one; missing entries are empty."""
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows([_value(cell) for cell in row] for row in cells_of(table))
    return text.getvalue()


#: File suffix -> renderer.
RENDERERS: dict[str, Callable[[Table], str]] = {
    ".txt": to_terminal,
    ".md": to_markdown,
    ".csv": to_csv,
    ".tex": to_latex,
}


def _value(cell: Cell) -> str | float:
    if cell.value is not None:
        return cell.value
    return "" if cell.text == MISSING else cell.text


def _markdown(cell: Cell) -> str:
    text = cell.text.replace("<", "&lt;")
    if cell.underlined:
        text = f"<ins>{text}</ins>"
    return f"**{text}**" if cell.bold else text
