"""Names and order of settings wherever their scores are shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from llm4grn.evaluation.scores.controls import CONTROLS, control_kind
from llm4grn.evaluation.scores.paper_numbers import PaperRow
from llm4grn.evaluation.scores.summary import SETTINGS, Row
from llm4grn.results import SOURCES, drawn_by

#: Columns that are shown only if rows differ in them.
VARYING = {"llm": "LLM", "model": "Model", "graph": "Graph"}
_BASELINES = {"control": "control", "stage1": "stage 1"}
_FIRST = ("llm", "consensus", "grnboost2")


def inferer_name(row: Row | PaperRow) -> str:
    """Return the baseline, the language model that drew the edges, or the inferer."""
    return _BASELINES.get(row.source) or drawn_by(row.inferer, row.llm)


def varying_labels(rows: Sequence[Row | PaperRow]) -> list[str]:
    """Return which of LLM, model and graph need a column of their own.

    Model and graph do if they take several values; the language model does only if rows with the same data set, KB and
    inferer differ in it, because otherwise the names of KB and inferer show it.
    """
    llms = defaultdict(set)
    for row in rows:
        llms[row.dataset, row.kb, inferer_name(row)].add(row.llm)
    needed = ["llm"] if any(len(names - {""}) > 1 for names in llms.values()) else []
    return needed + [name for name in VARYING if name != "llm" and len({getattr(row, name) for row in rows} - {""}) > 1]


def label_header(varying: Sequence[str]) -> list[str]:
    """Return the headers of the columns that name a row."""
    return ["Data set", "Setting", "KB", "Inferer", *(VARYING[name] for name in varying)]


def labels(row: Row | PaperRow, varying: Sequence[str]) -> list[str]:
    """Return a row's entries in the columns of :func:`label_header`."""
    return [row.dataset, row.setting, row.kb, inferer_name(row), *(getattr(row, name) for name in varying)]


def setting_name(row: Row | PaperRow, varying: Sequence[str]) -> str:
    """Return the name of a setting, such as ``human / grnboost2`` or ``human / claude``, with the labels that vary."""
    names = [row.kb, inferer_name(row)]
    return " / ".join(filter(None, names + [more for name in varying if (more := getattr(row, name)) not in names]))


def row_order(row: Row | PaperRow) -> tuple:
    """Return the sort key of a row.

    Baselines come first, then per KB: language model, consensus, GRNBoost2, other methods, and the controls, random
    last; our rows above the paper's.
    """
    rank = _FIRST.index(row.inferer) if row.inferer in _FIRST else len(_FIRST) + 1 + CONTROLS.index(control_kind(row))
    group = (row.dataset, SETTINGS.index(row.setting), SOURCES.index(row.source), row.kb, rank, row.inferer)
    return (*group, row.llm, isinstance(row, PaperRow), row.model, row.graph)
