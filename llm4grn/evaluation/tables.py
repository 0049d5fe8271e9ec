"""The summary table, for the terminal and in Markdown, with the lines that say how to read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from llm4grn.evaluation.results import Result
from llm4grn.evaluation.summary import COLLAPSE_FACTOR, Row, summarise
from llm4grn.metrics.registry import METRICS, SPACE

TERMINAL_WIDTH = 100
_LABEL_WIDTH = 28
_NAMES = {"control": "control", "stage1": "stage 1", "run": "run"}
_SETTING = {"kb": "KB", "inferer": "Inferer", "llm": "LLM", "model": "Model", "graph": "Graph"}


def terminal_table(results: Iterable[Result], n_cells: Mapping[str, int] | None = None) -> str:
    """The table as plain text of at most 100 columns: control and stage 1 first, then the runs, per data set.

    Parameters
    ----------
    results
        Of any number of runs; baselines they share are shown once.
    n_cells
        Per data set, the number of cells on each side of a comparison, if known.
    """
    rows = summarise(results)
    metrics = _metrics(rows)
    blocks = []
    for dataset, members in groupby(rows, key=lambda row: row.dataset):
        block = list(members)
        shared = {name: _shared(block, name) for name in ("llm", "model", "graph")}
        heading = [dataset, *(f"{name} {value}" for name, value in shared.items() if value)]
        header = ["", "n", *(f"{METRICS[name].label} {METRICS[name].arrow}" for name in metrics)]
        body = [
            [_label(row, shared) + _marks(row), str(row.n), *(_value(row, name) for name in metrics)] for row in block
        ]
        blocks.append(" · ".join(heading) + "\n\n" + _aligned([header, *body]))
    notes = [textwrap.fill(note, TERMINAL_WIDTH) for note in footnotes(rows, n_cells)]
    return "\n\n".join([*blocks, "\n".join(notes)]) + "\n"


def markdown_table(results: Iterable[Result], n_cells: Mapping[str, int] | None = None) -> str:
    """The table in Markdown, one row per setting, the best run of each data set in bold. Arguments as above."""
    rows = summarise(results)
    metrics = _metrics(rows)
    columns = [name for name in _SETTING if any(getattr(row, name) for row in rows)]
    header = ["Data set", "Source", *(_SETTING[name] for name in columns), "n"]
    header += [f"{METRICS[name].label} {METRICS[name].arrow}" for name in metrics]
    lines = [header, [*["---"] * (len(columns) + 2), *["---:"] * (len(metrics) + 1)]]
    for row in rows:
        values = [_value(row, name) for name in metrics]
        values = [f"**{value}**" if name in row.best else value for name, value in zip(metrics, values, strict=True)]
        setting = [getattr(row, name) or "–" for name in columns]
        lines.append([row.dataset, _NAMES[row.source] + _marks(row), *setting, str(row.n), *values])
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return table + "\n\n" + "\n".join(f"- {note}" for note in footnotes(rows, n_cells)) + "\n"


def footnotes(rows: Sequence[Row], n_cells: Mapping[str, int] | None = None) -> list[str]:
    """What the numbers are: n, space and floor always; collapsed or ambiguous rows where there are any."""
    datasets = dict.fromkeys(row.dataset for row in rows)
    sizes = {dataset: n_cells[dataset] for dataset in datasets if dataset in (n_cells or {})}
    cells = ", ".join(f"{size} ({dataset})" if len(sizes) > 1 else str(size) for dataset, size in sizes.items())
    notes = [
        "n = scored sets of cells (samples x seeds)"
        + (f" of {cells} cells each" if cells else "")
        + f"; mean ± sample standard deviation over them; space: {SPACE}; ↓ lower is better.",
        "Floor: control = real training cells scored against the same test cells, as many of each: the best in "
        "reach. RF AUROC 0.5 = cannot be told apart. Stage 1 = the GAN without a graph.",
    ]
    for row in rows:
        if row.collapsed:
            name = f"{row.dataset}, {_setting(row)}"
            what = "all sets" if row.failed else f"{row.collapsed} of {row.n + row.collapsed} sets"
            kept = "its means are those of the collapse" if row.failed else "left out of its means"
            notes.append(
                f"† {name}: {what} collapsed (Euclidean distance over {COLLAPSE_FACTOR:g} x the control's), {kept}."
            )
    if any(row.ambiguous for row in rows):
        notes.append("‡ The same setting, seed and sample came with different values: the row mixes unlike runs.")
    return notes


def _metrics(rows: Sequence[Row]) -> list[str]:
    return [name for name in METRICS if any(name in row.mean for row in rows)]


def _shared(rows: Sequence[Row], name: str) -> str:
    """The value all rows that have one agree on, to be said once in the heading; empty if they differ."""
    values = {getattr(row, name) for row in rows} - {""}
    runs = {getattr(row, name) for row in rows if row.source == "run"}
    return values.pop() if len(values) == 1 and "" not in runs else ""


def _setting(row: Row, shared: Mapping[str, str] | None = None) -> str:
    shown = [getattr(row, name) for name in _SETTING if not (shared or {}).get(name)]
    return " / ".join(part for part in shown if part) or _NAMES[row.source]


def _label(row: Row, shared: Mapping[str, str]) -> str:
    setting = _setting(row, shared)
    return setting if row.source == "run" or setting == _NAMES[row.source] else f"{_NAMES[row.source]} / {setting}"


def _marks(row: Row) -> str:
    return (" †" if row.collapsed else "") + (" ‡" if row.ambiguous else "")


def _value(row: Row, name: str) -> str:
    if name not in row.mean:
        return "–"
    mean = METRICS[name].format(row.mean[name])
    return f"{mean} ± {METRICS[name].format(row.std[name])}" if name in row.std else mean


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns padded to one width: the first left, numbers right; long labels and headers run over several lines."""
    body_widths = [max(len(line[i]) for line in lines[1:]) for i in range(len(lines[0]))]
    limits = [_LABEL_WIDTH, *(max(width, 10) for width in body_widths[1:])]
    wrapped = [[textwrap.wrap(cell, limit) or [""] for cell, limit in zip(line, limits, strict=True)] for line in lines]
    widths = [max(len(part) for line in wrapped for part in line[i]) for i in range(len(limits))]
    text = []
    for number, line in enumerate(wrapped):
        for i in range(max(map(len, line))):
            parts = [cell[i] if i < len(cell) else "" for cell in line]
            first, *rest = [
                part.rjust(width) if column else part.ljust(width)
                for column, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            text.append("  ".join([first, *rest]).rstrip())
        if number == 0:
            text.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(text)
