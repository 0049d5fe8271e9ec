"""What a comparison is made of: titled tables and figures, built once and shown in a terminal, a file or a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Parameters
    ----------
    text
        As shown.
    value
        What the entry is sorted by and what a CSV holds; ``None``: its text.
    bold, underlined
        Best of all, and best within its group.
    """

    text: str
    value: float | None = None
    bold: bool = False
    underlined: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a header.

    Parameters
    ----------
    name
        Of its files, without ending: ``scores`` makes ``scores.csv``.
    title
        Of its section.
    header
        One label per column.
    rows
        As many entries as columns each; a plain string is a :class:`Cell` of that text.
    n_labels
        How many columns from the left name the row; the others hold numbers.
    notes
        How to read it: one line each, below the table.
    definitions
        What exactly the numbers are: below the notes, folded away on a page.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    n_labels: int = 1
    notes: Sequence[str] = ()
    definitions: Sequence[str] = ()

    @property
    def lines_below(self) -> list[str]:
        """Notes and definitions."""
        return [*self.notes, *self.definitions]


@dataclass(frozen=True)
class Figure:
    """A picture.

    Parameters
    ----------
    title
        Of its section.
    path
        Of the PNG.
    caption
        What is drawn, and how to read it.
    """

    title: str
    path: Path
    caption: str
