"""Write a self-contained HTML page: sortable tables and embedded pictures, without other files or network access."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from llm4grn.evaluation.scores.verdicts import Verdict
from llm4grn.report.blocks import Block, Cards, Cell, Figure, Table
from llm4grn.report.latex import to_latex
from llm4grn.report.renderers import to_csv
from llm4grn.report.terminal import cells_of
from llm4grn.store import atomic_write

_TEMPLATES = Path(__file__).parent / "html"
_CSS_DPI = 96  # CSS pixels per inch, by definition
_LEAST_HEADER = 8  # letters to which a header may be wrapped
_MOST_LETTERS = 135  # maximum width of a table on an upright page; report.css turns the page of a wider one


@dataclass(frozen=True)
class Section:
    """Tables and figures that answer one question.

    Parameters
    ----------
    title
        Heading of the section.
    blocks
        Tables and figures in the order shown.
    intro
        The question, in a sentence or two.
    """

    title: str
    blocks: Sequence[Block]
    intro: str = ""


def write_html(
    path: Path,
    title: str,
    verdict: Sequence[Verdict],
    sections: Sequence[Section],
    commands: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
    *,
    subtitle: str = "",
) -> Path:
    """Write a self-contained page, with the same bytes for the same input.

    Pictures are embedded as data URIs, style and script are part of the page, and its content security policy forbids
    the browser to fetch anything.

    Parameters
    ----------
    path
        Output HTML path; its folder is created if it does not exist.
    title, subtitle
        Title and subtitle of the page.
    verdict
        Verdicts at the top of the page, one per data set.
    sections
        Sections in the order shown; those without blocks are left out.
    commands
        Name of each result and the command that reproduces it.
    versions
        Package to version.

    Returns
    -------
    ``path``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Any text in a table or a caption can come from a file of the user, so all of it is escaped.
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ids = _Ids()
    shown = [
        {"id": ids.new(section.title), "title": section.title, "intro": section.intro, "blocks": blocks}
        for section in sections
        if (blocks := [_block(block, ids) for block in section.blocks])
    ]
    page = environment.get_template("report.html").render(
        title=title,
        subtitle=subtitle,
        verdict=[_verdict(entry) for entry in verdict],
        sections=shown,
        commands=commands,
        versions=versions,
    )
    path = Path(path)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


class _Ids:
    """Generator of unique HTML element ids."""

    def __init__(self) -> None:
        self._used: set[str] = {"verdict", "reproduce", "contents"}

    def new(self, title: str) -> str:
        """Return an id derived from ``title``, numbered if it is already used."""
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"
        number = 1
        while (name := slug if number == 1 else f"{slug}-{number}") in self._used:
            number += 1
        self._used.add(name)
        return name


def _verdict(entry: Verdict) -> dict[str, object]:
    """Return the template's data: numbers in brackets split off, the lead of each detail (before its colon) too."""
    details = []
    for detail in entry.details:
        lead, colon, text = detail.partition(": ")
        details.append({"lead": lead, "text": text} if colon else {"lead": "", "text": detail})
    answer = [re.split(r"(\([^()]*\))", sentence) for sentence in entry.answer]
    figure = entry.figure and {"title": entry.figure.title, **_figure(entry.figure)}
    return {"dataset": entry.dataset, "answer": answer, "figure": figure, "details": details}


def _block(block: Block, ids: _Ids) -> dict[str, object]:
    shown = (
        _figure(block) if isinstance(block, Figure) else _cards(block) if isinstance(block, Cards) else _table(block)
    )
    return {"id": ids.new(block.title), "title": block.title, **shown}


def _table(table: Table) -> dict[str, object]:
    rows = cells_of(table)
    letters = [_letters(name, [row[i].text for row in rows]) + 1 for i, name in enumerate(table.header)]
    one_data_set = table.header[0] == "Data set" and len({row[0].text for row in rows}) == 1
    width = sum(letters[one_data_set:])
    above = [None, *rows[:-1]]
    return {
        "kind": "table",
        "header": [_unbroken(label) for label in table.header],
        "n_labels": table.n_labels,
        "letters": width,
        "wide": width > _MOST_LETTERS,
        "one_data_set": one_data_set,
        "rows": [
            {
                "cells": [replace(cell, text=_unbroken(cell.text)) for cell in row],
                "repeated": _repeated(row, before, table.n_labels),
            }
            for row, before in zip(rows, above, strict=True)
        ],
        "notes": table.notes,
        "definitions": table.definitions,
        "downloads": _downloads(table),
    }


def _letters(name: str, entries: Sequence[str]) -> int:
    """Return the width of a column in letters; a browser wraps a header wider than the entries."""
    width = max(map(len, entries), default=0)
    wrapped = textwrap.wrap(_unbroken(name), max(width, _LEAST_HEADER), break_long_words=False)
    return max([width, *map(len, wrapped)])


def _cards(cards: Cards) -> dict[str, object]:
    return {"kind": "cards", "cards": cards.cards, "notes": cards.notes, "downloads": _downloads(cards.table)}


def _downloads(table: Table) -> list[tuple[str, str, str]]:
    """Return name, label and content of the files of a table."""
    return [
        (f"{table.name}.csv", "CSV", _data_uri(to_csv(table).encode(), "text/csv")),
        (f"{table.name}.tex", "LaTeX", _data_uri(to_latex(table).encode(), "text/x-tex")),
    ]


def _unbroken(text: str) -> str:
    """Keep the arrow that shows the better direction on the line of the last word."""
    return re.sub(r" (?=[↑↓]$)", "\N{NO-BREAK SPACE}", text)


def _repeated(row: Sequence[Cell], before: Sequence[Cell] | None, n_labels: int) -> int:
    """Return how many labels from the left, the last one excluded, repeat those of the row above."""
    count = 0
    for cell, upper in zip(row[: n_labels - 1], (before or ())[: n_labels - 1], strict=False):
        if cell.text != upper.text:
            break
        count += 1
    return count


def _figure(figure: Figure) -> dict[str, object]:
    from PIL import Image

    data = Path(figure.path).read_bytes()
    with Image.open(BytesIO(data)) as image:
        (width, height), dpi = image.size, image.info.get("dpi", (_CSS_DPI, _CSS_DPI))[0]
    scale = _CSS_DPI / dpi if dpi > _CSS_DPI else 1.0
    return {
        "kind": "figure",
        "source": _data_uri(data, "image/png"),
        "width": round(width * scale),
        "height": round(height * scale),
        "caption": figure.caption,
    }


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def blocks_of(sections: Iterable[Section]) -> list[Block]:
    """Return all tables, figures and cards of the sections, in order."""
    return [block for section in sections for block in section.blocks]
