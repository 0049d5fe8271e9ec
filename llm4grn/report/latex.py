"""Render a table in LaTeX for a plain ``article``: no wider than the page, and split into parts if it is too long."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from llm4grn.report.blocks import Cell, Table
from llm4grn.report.terminal import cells_of, without_repeats

# In points, for an article in 10 pt: the text block, then the approximate size of a letter, a column gap and a line.
_SHORT_SIDE, _LONG_SIDE = 345.0, 550.0
_LETTER, _SMALL_LETTER = 5.0, 4.2
_GAP = 8.0
_LINE, _SMALL_LINE = 12.5, 10.0
_CAPTION = 40.0
_LEAST_SCALE = 0.7
_LEAST_HEADER = 8

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


@dataclass(frozen=True)
class _Layout:
    """How a table fits on its page.

    Parameters
    ----------
    turned
        Whether the table is set sideways.
    shrunk
        Whether the table is scaled down to the width of the page.
    apart
        Whether the notes follow the table instead of standing inside its float.
    most_rows
        Maximum number of rows in one part.
    """

    turned: bool
    shrunk: bool
    apart: bool
    most_rows: int

    @classmethod
    def of(cls, table: Table) -> _Layout:
        """Choose the layout from the estimated width of the columns and height of the notes."""
        needed = sum(_LETTER * width + _GAP for width in column_letters(table))
        turned = needed * _LEAST_SCALE > _SHORT_SIDE
        width, height = (_LONG_SIDE, _SHORT_SIDE) if turned else (_SHORT_SIDE, _LONG_SIDE)
        notes = sum(_SMALL_LINE * math.ceil(_SMALL_LETTER * len(note) / width) + 3 for note in table.lines_below)
        apart = notes > height / 2
        room = height - _CAPTION - (0 if apart else notes)
        # The width is an estimate, as only TeX knows it: scaling starts well below the page width.
        return cls(turned, needed > 0.8 * width, apart, int(room / (_LINE * min(1.0, width / needed))))


def to_latex(table: Table) -> str:
    """Return one ``table``, or ``sidewaystable`` if it is wide; several if the rows do not fit on one page.

    Repeated labels are shown once, notes are below the table. The first line names the LaTeX packages that it needs.
    """
    layout = _Layout.of(table)
    packages = ["booktabs", *(["graphicx"] if layout.shrunk else []), *(["rotating"] if layout.turned else [])]
    environment = "sidewaystable" if layout.turned else "table"
    notes = [rf"\par\smallskip{{\raggedright\footnotesize {escaped(note)}\par}}" for note in table.lines_below]
    parts = list(_parts(cells_of(table), layout.most_rows, min(2, table.n_labels - 1)))
    lines = [rf"% In the preamble: \usepackage{{{','.join(packages)}}}"]
    for number, part in enumerate(parts, start=1):
        of_several = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        lines += [
            rf"\begin{{{environment}}}",
            r"\centering",
            rf"\caption{{{escaped(table.title)}{of_several}}}",
            *([rf"\label{{tab:{table.name}}}"] if number == 1 else []),
            *_tabular(table, part, layout.shrunk),
            *(notes if number == len(parts) and not layout.apart else []),
            rf"\end{{{environment}}}",
        ]
    return "\n".join([*lines, *(notes if layout.apart else [])]) + "\n"


def column_letters(table: Table) -> list[int]:
    """Return the width of each column in letters; a header wider than the entries is wrapped."""
    rows, widths = cells_of(table), []
    for i, name in enumerate(table.header):
        body = max((len(row[i].text) for row in rows), default=0)
        widths.append(max(body, *map(len, _wrapped(name, body))))
    return widths


def _tabular(table: Table, rows: Sequence[Sequence[Cell]], shrunk: bool) -> list[str]:
    n, columns = table.n_labels, len(table.header)
    labels = without_repeats([[cell.text for cell in row[:n]] for row in rows])
    body = []
    for number, (names, row) in enumerate(zip(labels, rows, strict=True)):
        if number and n > 1 and names[0]:
            body.append(r"\midrule")
        elif number and n > 2 and names[1]:
            body.append(r"\addlinespace")
        body.append(" & ".join([*map(escaped, names), *map(_entry, row[n:])]) + r" \\")
    alignment = "l" * n + "r" * (columns - n)
    heads = map(_head, table.header, column_letters(table), alignment)
    tabular = [
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if not shrunk:
        return tabular
    # Scale down only if the table is wider than the text.
    box = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    return [rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}", box, *tabular[:-1], tabular[-1] + "}"]


def _parts(rows: Sequence[Sequence[Cell]], most: int, depth: int) -> list[Sequence[Sequence[Cell]]]:
    """Split the rows into parts of at most ``most``.

    A part ends where one of the first ``depth`` labels changes, if one does in its last half.
    """
    parts, start = [], 0
    while len(rows) - start > most:
        groups = [[cell.text for cell in row[:depth]] for row in rows]
        changes = [end for end in range(start + most, start + most // 2, -1) if groups[end] != groups[end - 1]]
        end = changes[0] if changes else start + most
        parts.append(rows[start:end])
        start = end
    return [*parts, rows[start:]]


def _wrapped(name: str, width: int) -> list[str]:
    # Keep the arrow that shows the better direction on the line of the last word.
    name = re.sub(r" (?=[↑↓]$)", "\N{NO-BREAK SPACE}", name)
    return textwrap.wrap(name, max(width, _LEAST_HEADER), break_long_words=False) or [""]


def _head(name: str, width: int, alignment: str) -> str:
    lines = [escaped(line) for line in _wrapped(name, width)]
    if len(lines) == 1:
        return lines[0]
    stacked = r"\\".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{alignment}@{{}}}}{stacked}\end{{tabular}}"


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
