"""Render a table in LaTeX: booktabs, shrunk by LaTeX itself if it is larger than the page."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from llm4grn.report.blocks import Cell, Table
from llm4grn.report.terminal import cells_of, without_repeats

# The caption needs the rest of the height.
_LARGEST = r"max width=\linewidth, max totalheight=0.8\textheight"
_SYMBOLS = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\N{NO-BREAK SPACE}": "~",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "−": r"$-$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "·": r"$\cdot$",
    "–": "--",
}
_ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327", "`'^~\"rvc", strict=True))
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"


def to_latex(table: Table) -> str:
    """Return a ``table`` with repeated labels shown once and the notes below it.

    The first line names the LaTeX packages that it needs.
    """
    alignment = "l" * table.n_labels + "r" * (len(table.header) - table.n_labels)
    lines = [
        r"% In the preamble: \usepackage{booktabs,adjustbox}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{adjustbox}}{{{_LARGEST}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _row(map(escaped, table.header)),
        r"\midrule",
        *_body(cells_of(table), table.n_labels),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        r"\end{table}",
    ]
    # Outside the float, notes of any length may break over pages.
    notes = [rf"{{\raggedright\footnotesize {escaped(note)}\par}}" for note in table.lines_below]
    return "\n".join([*lines, *notes]) + "\n"


def _body(rows: Sequence[Sequence[Cell]], n_labels: int) -> list[str]:
    """Return the rows, with a rule above each new first label and a gap above each new second one."""
    labels = without_repeats([[cell.text for cell in row[:n_labels]] for row in rows])
    body = []
    for number, (names, row) in enumerate(zip(labels, rows, strict=True)):
        if number and n_labels > 1 and names[0]:
            body.append(r"\midrule")
        elif number and n_labels > 2 and names[1]:
            body.append(r"\addlinespace")
        body.append(_row([*map(escaped, names), *map(_entry, row[n_labels:])]))
    return body


def _row(entries: Iterable[str]) -> str:
    return " & ".join(entries) + r" \\"


def _entry(cell: Cell) -> str:
    text = escaped(cell.text.replace("-", "−", 1) if cell.value is not None and cell.value < 0 else cell.text)
    if cell.underlined:
        text = rf"\underline{{{text}}}"
    return rf"\textbf{{{text}}}" if cell.bold else text


def escaped(text: str) -> str:
    """Return ASCII LaTeX source that pdfLaTeX typesets as ``text``."""
    return "".join(_SYMBOLS.get(character) or _letter(character) for character in text)


def _letter(character: str) -> str:
    """Return the command of an accent or a Greek letter, else the nearest ASCII letters, else a question mark."""
    if character.isascii():
        return character
    name = unicodedata.name(character, "").removeprefix("GREEK SMALL LETTER ").lower()
    if name in _GREEK.split():
        return rf"$\{name}$"
    decomposed = unicodedata.normalize("NFKD", character)
    base, marks = decomposed[0], decomposed[1:]
    if base.isascii() and marks in _ACCENTS:
        return rf"\{_ACCENTS[marks]}{{{base}}}"
    return "".join(part for part in decomposed if part.isascii()) or "?"
