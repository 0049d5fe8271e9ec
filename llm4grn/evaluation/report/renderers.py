"""A table as text: for the terminal, in Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO

from llm4grn.evaluation.report.blocks import Cell, Table
from llm4grn.evaluation.report.terminal import cells_of, to_terminal, without_repeats

#: An entry without a value.
MISSING = "–"

_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "−": r"$-$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "·": r"$\cdot$",
    "–": "--",
}


def to_markdown(table: Table) -> str:
    """A heading, the table with every label in full, and the notes as a list."""
    rows = [list(table.header), ["---"] * table.n_labels + ["---:"] * (len(table.header) - table.n_labels)]
    rows += [[_markdown(cell) for cell in row] for row in cells_of(table)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    parts = [f"**{table.title}**", "\n".join(lines), "\n".join(f"- {note}" for note in table.notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_csv(table: Table) -> str:
    """One line per row with values, not texts; an entry without a value is empty."""
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows([_value(cell) for cell in row] for row in cells_of(table))
    return text.getvalue()


def to_latex(table: Table) -> str:
    r"""A ``table`` for ``\usepackage{booktabs}``; labels that repeat are said once, notes stand below it."""
    n, columns = table.n_labels, len(table.header)
    cells = cells_of(table)
    labels = without_repeats([[cell.text for cell in row[:n]] for row in cells])
    body = []
    for number, (names, row) in enumerate(zip(labels, cells, strict=True)):
        if number and n > 1 and names[0]:
            body.append(r"\midrule")
        elif number and n > 2 and names[1]:
            body.append(r"\addlinespace")
        body.append(" & ".join([*map(_escaped, names), *map(_latex, row[n:])]) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{'l' * n}{'r' * (columns - n)}}}",
        r"\toprule",
        " & ".join(map(_escaped, table.header)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\raggedright\footnotesize {_escaped(note)}\par}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


#: Ending of a file -> what writes it.
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


def _latex(cell: Cell) -> str:
    text = _escaped(cell.text.replace("-", "−", 1) if cell.value is not None and cell.value < 0 else cell.text)
    if cell.underlined:
        text = rf"\underline{{{text}}}"
    return rf"\textbf{{{text}}}" if cell.bold else text


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
