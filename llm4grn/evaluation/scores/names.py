"""How settings are named and ordered wherever their scores are shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from llm4grn.evaluation.scores.paper_numbers import PaperRow
from llm4grn.evaluation.scores.summary import SETTINGS, Row
from llm4grn.results import SOURCES

#: Columns that are there only where they tell rows apart.
VARYING = {"llm": "LLM", "model": "Model", "graph": "Graph"}
_BASELINES = {"control": "control", "stage1": "stage 1"}
_FIRST, _LAST = ("llm", "consensus", "grnboost2"), "random"


def inferer_name(row: Row | PaperRow) -> str:
    """Who drew the edges: the baseline, the language model by its own name, or the method."""
    return _BASELINES.get(row.source) or (row.inferer == "llm" and row.llm) or row.inferer


def varying_labels(rows: Sequence[Row | PaperRow]) -> list[str]:
    """Which of LLM, model and graph tables must show row by row.

    Model and graph where they take several values; the language model only where rows with the same data set, KB and
    inferer differ in it, as the names of KB and inferer say it otherwise.
    """
    llms = defaultdict(set)
    for row in rows:
        llms[row.dataset, row.kb, inferer_name(row)].add(row.llm)
    needed = ["llm"] if any(len(found - {""}) > 1 for found in llms.values()) else []
    return needed + [name for name in VARYING if name != "llm" and len({getattr(row, name) for row in rows} - {""}) > 1]


def label_header(varying: Sequence[str]) -> list[str]:
    """The columns that name a row."""
    return ["Data set", "Setting", "KB", "Inferer", *(VARYING[name] for name in varying)]


def labels(row: Row | PaperRow, varying: Sequence[str]) -> list[str]:
    """Entries below :func:`label_header`."""
    return [row.dataset, row.setting, row.kb, inferer_name(row), *(getattr(row, name) for name in varying)]


def setting_name(row: Row | PaperRow, varying: Sequence[str]) -> str:
    """One phrase: ``human / grnboost2``, ``human / claude``, and what varies."""
    names = [row.kb, inferer_name(row)]
    return " / ".join(filter(None, names + [more for name in varying if (more := getattr(row, name)) not in names]))


def row_order(row: Row | PaperRow) -> tuple:
    """Baselines, then per KB: language model, consensus, GRNBoost2, other methods, random; ours above the paper's."""
    rank = _FIRST.index(row.inferer) if row.inferer in _FIRST else len(_FIRST) + (row.inferer == _LAST)
    group = (row.dataset, SETTINGS.index(row.setting), SOURCES.index(row.source), row.kb, rank, row.inferer)
    return (*group, row.llm, isinstance(row, PaperRow), row.model, row.graph)
