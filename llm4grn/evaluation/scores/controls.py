"""Which rows of a table are controls, and which control belongs to a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm4grn.evaluation.scores.paper_numbers import PaperRow
    from llm4grn.evaluation.scores.summary import Row

POPULAR, SHUFFLED, RANDOM = "popular", "shuffled", "random"
#: First words of the labels of controls, after "" for networks that are none, in the order of a table.
CONTROLS = ("", POPULAR, SHUFFLED, RANDOM)


def control_kind(row: Row | PaperRow) -> str:
    """Return which of ``CONTROLS`` a row is; empty for other networks and for baselines."""
    first = row.inferer.partition(" ")[0]
    return first if row.source == "run" and first in CONTROLS else ""


def random_run(row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the random-graph run with the data set, model, KB and graph of ``row``; None if there is none.

    A baseline has no KB and no graph, and a control no model: only the labels that it has must agree.
    """
    names = [name for name in ("dataset", "model", "kb", "graph") if row.source == "run" or getattr(row, name)]
    return _first(rows, RANDOM, row, names)


def shuffled_run(row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the run whose network has the lists of ``row``'s dealt out to other targets; None if there is none.

    It is known by its label, ``shuffled INFERER``, and has the same language model, data set, model, KB and graph.
    """
    if row.source != "run" or control_kind(row):
        return None
    return _first(rows, f"{SHUFFLED} {row.inferer}", row, ("dataset", "model", "kb", "graph", "llm"))


def _first(rows: Sequence[Row], inferer: str, row: Row, names: Sequence[str]) -> Row | None:
    runs = (other for other in rows if (other.source, other.inferer, other.failed) == ("run", inferer, False))
    return next((one for one in runs if all(getattr(one, name) == getattr(row, name) for name in names)), None)
