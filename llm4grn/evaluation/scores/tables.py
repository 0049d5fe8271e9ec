"""The table of scores in the layout of the paper, with notes that explain how to read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from llm4grn.evaluation.scores.controls import POPULAR, RANDOM, SHUFFLED, control_kind
from llm4grn.evaluation.scores.names import VARYING, label_header, labels, row_order, setting_name, varying_labels
from llm4grn.evaluation.scores.paper_numbers import PaperRow
from llm4grn.evaluation.scores.summary import ASKED, COLLAPSE_FACTOR, CURATED, OTHER, Row, summarise
from llm4grn.metrics.registry import METRICS, metric_parameters
from llm4grn.report.blocks import Cell, Table
from llm4grn.report.renderers import MISSING, to_markdown, to_terminal
from llm4grn.results import Result

FLOOR, USELESS, PAPER = "floor", "useless method", "paper"
_USELESS = {
    RANDOM: "regulators drawn at random; what the GAN reaches with a graph that knows nothing",
    SHUFFLED: "the lists of another network, dealt out to other targets (shuffled): what its choice of TFs reaches "
    "without any knowledge of the targets",
    POPULAR: "the TFs that another network names most, for every target (popular)",
}
_ABOUT = {
    CURATED: "TFs from a curated list",
    ASKED: "TFs named by a language model",
    OTHER: "TFs from elsewhere (drawn at random, of the simulation, read off the ranking, or a list of your own)",
}
_ABOUT_NO_REAL_TYPE = (
    "No real type: share of the cells in clusters that hold almost no real cells, collapsed sets included; of the "
    "control, real validation cells."
)


def terminal_table(results: Iterable[Result], n_cells: Mapping[str, int] | None = None, explained: bool = True) -> str:
    """Return the scores as plain text of at most 100 columns; if sets of cells collapsed, without and with them.

    Parameters
    ----------
    results
        Results of any number of runs; baselines that they share are shown once.
    n_cells
        Data set to the number of cells on each side of a comparison, if known.
    explained
        Whether to add the notes that explain how to read the table.
    """
    tables = scores_tables(results, n_cells)
    return "\n".join(to_terminal(table if explained else replace(table, notes=(), definitions=())) for table in tables)


def markdown_table(results: Iterable[Result], n_cells: Mapping[str, int] | None = None) -> str:
    """Return the scores in Markdown; arguments as in :func:`terminal_table`."""
    return "\n".join(to_markdown(table) for table in scores_tables(results, n_cells))


def scores_tables(
    results: Iterable[Result],
    n_cells: Mapping[str, int] | None = None,
    paper: Sequence[PaperRow] = (),
    notes: Sequence[str] = (),
    no_real_type: Mapping[tuple[str, ...], Sequence[float]] | None = None,
) -> list[Table]:
    """Return the table without collapsed sets of cells and, if there are any, the table with them.

    Parameters
    ----------
    results, n_cells
        As in :func:`terminal_table`.
    paper
        Rows of the paper to show beside ours.
    notes
        Additional notes below the table.
    no_real_type
        Labels of a row (data set, source, KB, inferer, LLM, model, graph) to the share of cells of no real type in each
        set of cells, for a column of its own.
    """
    results = list(results)
    rows = summarise(results)
    tables = [scores_table(rows, n_cells, paper, notes, no_real_type=no_real_type)]
    if any(row.collapsed for row in rows):
        tables.append(scores_table(summarise(results, with_collapsed=True), n_cells, paper, notes, with_collapsed=True))
    return tables


def scores_table(
    rows: Sequence[Row],
    n_cells: Mapping[str, int] | None = None,
    paper: Sequence[PaperRow] = (),
    notes: Sequence[str] = (),
    with_collapsed: bool = False,
    no_real_type: Mapping[tuple[str, ...], Sequence[float]] | None = None,
) -> Table:
    """Tabulate metrics by data set, setting, KB and inferer, in the layout of the paper's Tables 1, 2 and 4.

    The entry of a metric shows mean ± standard deviation and has the mean as its value.
    """
    both: list[Row | PaperRow] = [*rows, *paper]
    shown = sorted(both, key=row_order)
    metrics = [name for name in METRICS if any(name in row.mean for row in rows)]
    varying = varying_labels(shown)
    body = [
        [
            *(*labels(row, varying), role(row), _n(row)),
            *(_entry(row, name, with_collapsed) for name in metrics),
            *([_share_of_no_real_type(row, no_real_type)] if no_real_type else []),
        ]
        for row in shown
    ]
    columns = [f"{METRICS[name].label} {METRICS[name].arrow}" for name in metrics]
    if no_real_type:
        columns.append("No real type, % ↓")
        notes = [*notes, _ABOUT_NO_REAL_TYPE]
    return Table(
        name="scores_with_collapsed" if with_collapsed else "scores",
        title=_with_fixed("Scores, collapsed runs included" if with_collapsed else "Scores", rows),
        header=[*label_header(varying), "Role", "n", *columns],
        rows=body,
        n_labels=len(label_header(varying)) + 1,
        notes=[*_reading(rows, paper, n_cells), *_collapses(rows, with_collapsed), *notes],
        definitions=parameter_notes(metrics),
    )


def role(row: Row | PaperRow) -> str:
    """Return the role of a row: floor of the metrics, useless method, paper's numbers, or empty for other runs."""
    if isinstance(row, PaperRow):
        return PAPER
    return FLOOR if row.source == "control" else USELESS if control_kind(row) else ""


def parameter_notes(metrics: Sequence[str]) -> list[str]:
    """Return a note on the fixed parameters of each metric; those that all metrics share come first, in one note."""
    known = {name: metric_parameters()[name] for name in metrics}
    shared = {
        key: value
        for key, value in next(iter(known.values()), {}).items()
        if key != "unit" and all(parameters.get(key) == value for parameters in known.values())
    }
    notes = [f"All metrics: {_listed(shared)}."] if shared else []
    for name, parameters in known.items():
        own = {key: value for key, value in parameters.items() if key not in shared}
        # The first part of the text defines the control, which another note does; the rest is about this metric.
        own |= {"floor": about} if (about := METRICS[name].floor.partition("; ")[2]) else {}
        notes.append(f"{METRICS[name].label}: {_listed(own)}.")
    return notes


def _listed(parameters: Mapping[str, object]) -> str:
    return "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in parameters.items())


def _with_fixed(title: str, rows: Sequence[Row]) -> str:
    """Return the title with the labels that are the same in all rows."""
    parts = []
    for name, label in VARYING.items():
        values = {getattr(row, name) for row in rows} - {""}
        if len(values) == 1:
            parts.append(f"{label} {values.pop()}" if name == "llm" else f"{label.lower()} {values.pop()}")
    return f"{title} ({', '.join(parts)})" if parts else title


def _n(row: Row | PaperRow) -> Cell | str:
    if isinstance(row, PaperRow):
        return MISSING
    marks = ("†" if row.collapsed else "") + ("‡" if row.ambiguous else "")
    return Cell(f"{row.n} {marks}".strip(), row.n)


def _entry(row: Row | PaperRow, name: str, with_collapsed: bool) -> Cell | str:
    if name not in row.mean or (isinstance(row, Row) and row.failed and not with_collapsed):
        return MISSING
    if isinstance(row, PaperRow):
        return Cell(" ± ".join(row.printed[name]), row.mean[name])
    text = METRICS[name].format(row.mean[name])
    if name in row.std:
        text = f"{text} ± {METRICS[name].format(row.std[name])}"
    # As in the paper, the best of all has no second mark as the best of its setting.
    is_best = name in row.best
    return Cell(text, row.mean[name], bold=is_best, underlined=name in row.best_of_setting and not is_best)


def _share_of_no_real_type(row: Row | PaperRow, shares: Mapping[tuple[str, ...], Sequence[float]]) -> Cell | str:
    if isinstance(row, PaperRow):
        return MISSING
    labels = (row.dataset, row.source, row.kb, row.inferer, row.llm, row.model, row.graph)
    values = [100 * share for share in shares.get(labels, ())]
    if not values:
        return MISSING
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return Cell(f"{fmean(values):.1f}{spread}", fmean(values))


def _reading(rows: Sequence[Row], paper: Sequence[PaperRow], n_cells: Mapping[str, int] | None) -> list[str]:
    known = n_cells or {}
    sizes = {name: known[name] for name in dict.fromkeys(row.dataset for row in rows) if name in known}
    cells = ", ".join(f"{size} ({dataset})" if len(sizes) > 1 else str(size) for dataset, size in sizes.items())
    notes = [
        "n = scored sets of cells (samples x seeds)"
        + (f" of {cells} cells each" if cells else "")
        + "; mean ± sample standard deviation over them; ↓ lower is better, ↑ higher.",
        "Floor: control = real training cells scored against the same test cells, as many of each: the best in reach. "
        "Stage 1 = the GAN without a graph.",
    ]
    kinds = {control_kind(row) for row in rows}
    if about := "; ".join(what for kind, what in _USELESS.items() if kind in kinds):
        notes.append(f"Useless method: {about}.")
    present = {row.setting for row in rows} | {row.setting for row in paper}
    if about := "; ".join(f"{name}: {what}" for name, what in _ABOUT.items() if name in present):
        notes.append(f"{about}.")
    if any(row.best for row in rows):
        notes.append("Bold: best graph of its data set, baselines aside. Underlined: best of its setting, if another.")
    if paper:
        notes.append(
            f"Paper: as printed in its Table {', '.join(sorted({row.table for row in paper}))}, over 4 sets x 2 seeds; "
            "here that is model=paper graph.k=10. Its splits and TF lists are not ours. Marks compare our runs only."
        )
    return notes


def _collapses(rows: Sequence[Row], with_collapsed: bool) -> list[str]:
    """Return notes that name each row with collapsed sets, and these sets."""
    notes = []
    varying = varying_labels(rows)
    for row in rows:
        if row.collapsed:
            where: dict[int, list[str]] = {}
            for seed, sample in row.collapsed_sets:
                where.setdefault(seed, []).append(str(sample))
            sets = "; ".join(f"seed {seed}: {', '.join(samples)}" for seed, samples in where.items())
            what = "all sets" if row.failed else "sets"
            fate = "counted here" if with_collapsed else "no numbers are left" if row.failed else "left out"
            notes.append(f"† {row.dataset}, {setting_name(row, varying)}: {what} collapsed ({sets}), {fate}.")
    if notes:
        notes.append(
            f"Collapsed: the mean cell lies over {COLLAPSE_FACTOR:g} x as far from the real one as the control's."
        )
    if any(row.ambiguous for row in rows):
        notes.append("‡ The same setting, seed and sample came with different values: the row mixes unlike runs.")
    return notes
