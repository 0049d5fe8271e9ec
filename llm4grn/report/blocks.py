"""Titled tables and figures, built once and rendered in a terminal, a file or an HTML page."""

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
        Text as shown.
    value
        Number to sort by and to write to CSV; ``None`` for an entry that has only its text.
    bold, underlined
        Mark the best entry of all, and the best entry within its group.
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
        Stem of its files: ``scores`` makes ``scores.csv``.
    title
        Heading above the table.
    header
        One label per column.
    rows
        One entry per column in each row; a plain string is a :class:`Cell` of that text.
    n_labels
        Number of columns from the left that name the row; the others hold numbers.
    notes
        Lines below the table that explain how to read it.
    definitions
        Lines below the notes that define the numbers; collapsed on an HTML page.
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
        """Return the notes, then the definitions."""
        return [*self.notes, *self.definitions]


@dataclass(frozen=True)
class Card:
    """A few facts about one thing, for a page that may be as narrow as a phone.

    Parameters
    ----------
    title
        The thing.
    facts
        Label and text of each fact.
    quote, source
        Words about it, and whose they are; empty if there are none.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    quote: str = ""
    source: str = ""


@dataclass(frozen=True)
class Cards:
    """Cards beside each other, as many as the page is wide.

    Parameters
    ----------
    name
        Stem of the files of their table.
    title
        Heading above the cards.
    cards
        The cards in the order shown.
    notes
        Lines above the cards that explain how to read them.
    """

    name: str
    title: str
    cards: Sequence[Card]
    notes: Sequence[str] = ()

    @property
    def table(self) -> Table:
        """The same as a table of one row per card and one column per fact, for files."""
        labels = list(dict.fromkeys(label for card in self.cards for label, _ in card.facts))
        rows = [
            [card.title, *(dict(card.facts).get(label, "–") for label in labels), card.quote or "–"]
            for card in self.cards
        ]
        return Table(self.name, self.title, ["", *labels, "Said"], rows, 1, self.notes)


@dataclass(frozen=True)
class Figure:
    """A picture.

    Parameters
    ----------
    title
        Heading above the picture.
    path
        PNG path.
    caption
        Text that says what is drawn and how to read it.
    """

    title: str
    path: Path
    caption: str


#: What a section of a report consists of.
Block = Table | Figure | Cards
