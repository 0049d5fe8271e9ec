"""Table and picture of the share of edges that a reference confirms, for the networks of finished runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.calibration import NOT_NAMED, NOT_RANKED, calibration, with_interval
from llm4grn.evaluation.graphs.reference_table import reference_loader, reference_name
from llm4grn.evaluation.graphs.runs import GraphRun, file_name
from llm4grn.report.blocks import Cell, Figure, Table
from llm4grn.report.figures import COLOURS, INK, panels, save

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

RANK, VOTES = "rank", "votes"
_MARKERS = "osD^v"
_HEADER = ("Data set", "KB", "Inferer", "By", "Group", "Graphs", "Edges", "Confirmed, %", "from", "to", "At random, %")


def calibration_blocks(
    runs: Sequence[GraphRun],
    reference: str | Path,
    figures: Path,
    *,
    data: str | Path = "data",
    name: str = "graph_calibration",
) -> list[Table | Figure]:
    """Build the table and one figure per data set; no blocks if the reference is of no use for any run.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`.
    reference
        ``truth``, ``collectri`` or the path of a table.
    figures
        Folder for the PNGs.
    data
        Folder of downloaded data (``paths.data``).
    name
        Name of the table, and first part of the figures' file names.
    """
    curves = _curves(runs, reference, data)
    if not curves:
        return []
    label = reference_name(reference)
    rows = [row for (dataset, kb, inferer, by), of in curves.items() for row in _rows(dataset, kb, inferer, by, of)]
    notes = [
        f"Share of a network's edges that {label} confirms, by their rank among the TFs of the target or, for several "
        "answers of a language model, by the share of answers that name them; from .. to: 95 % interval (Wilson). A "
        "network that knows what it knows has a falling curve.",
        "Over several graphs, edges and confirmed edges are means; the interval is that of one graph. An edge that "
        f"{label} lacks may still be true: compare the shares with that of all candidates, at random.",
    ]
    blocks: list[Table | Figure] = [
        Table(name, f"Edges confirmed by {label}", _HEADER, rows, 5, notes),
    ]
    for dataset in dict.fromkeys(key[0] for key in curves):
        own = {key[1:]: of for key, of in curves.items() if key[0] == dataset}
        path = plot_calibration(own, figures / f"{name}_{file_name(dataset)}.png", label)
        caption = (
            f"As in the table, in percent. Dashed: share of all candidate pairs in {label}, as for a random order."
        )
        blocks.append(Figure(f"Edges of {dataset} confirmed by {label}", path, caption))
    return blocks


_Key = tuple[str, str, str, str]


def _curves(runs: Sequence[GraphRun], reference: str | Path, data: str | Path) -> dict[_Key, pd.DataFrame]:
    """Return data set, KB, inferer and kind of grouping to the mean curve of the runs that differ by seeds."""
    edges_of = reference_loader(reference, data)
    found: dict[_Key, dict[tuple[int, int], pd.DataFrame]] = defaultdict(dict)
    for run in runs:
        try:
            edges = edges_of(run)
        except UserError:  # the table of scores says why
            continue
        n_answers = int((run.language_model or {}).get("n_samples", 1))
        for by, n in ((RANK, None), (VOTES, n_answers)):
            if n == 1:
                continue
            curve = calibration(run.grn, edges, run.causal_graph.genes, run.candidates, n_answers=n)
            if curve["confirmed"].sum():
                key = run.dataset, run.kb, run.inferer, by
                found[key].setdefault((run.seed, run.inference_seed), curve)
    return {key: _mean(list(of.values())) for key, of in found.items()}


def _mean(curves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the means of edges and confirmed edges by group, with their shares; ``graphs`` counts the curves."""
    import pandas as pd

    order = dict.fromkeys(group for curve in curves for group in curve["group"])
    last = [group for group in order if group in (NOT_RANKED, NOT_NAMED)]
    together = pd.concat(curves).groupby("group", sort=False)
    table = together[["position", "at_random"]].mean().join(together[["edges", "confirmed"]].sum() / len(curves))
    table = table.loc[[*(group for group in order if group not in last), *last]].reset_index()
    return with_interval(table).assign(graphs=len(curves))


def _rows(dataset: str, kb: str, inferer: str, by: str, curve: pd.DataFrame) -> list[list[Cell | str]]:
    rows: list[list[Cell | str]] = []
    for row in curve.to_dict("records"):
        percent = [Cell(f"{100 * row[name]:.2f}", 100 * row[name]) for name in ("share", "low", "high", "at_random")]
        numbers = [Cell(str(row["graphs"]), row["graphs"]), Cell(f"{row['edges']:.0f}", row["edges"])]
        rows.append([dataset, kb, inferer, by, str(row["group"]), *numbers, *percent])
    return rows


def plot_calibration(curves: Mapping[tuple[str, str, str], pd.DataFrame], path: Path, reference: str) -> Path:
    """Draw the share of confirmed edges against rank and, where there are several answers, against votes.

    Parameters
    ----------
    curves
        KB, inferer and ``rank`` or ``votes`` to a table of :func:`~llm4grn.evaluation.graphs.calibration.calibration`.
    path
        Output PNG path.
    reference
        Name of the reference.

    Returns
    -------
    ``path``.
    """
    kinds = [kind for kind in (RANK, VOTES) if any(key[2] == kind for key in curves)]
    settings = list(dict.fromkeys(key[:2] for key in curves))
    figure, axes = panels(1, len(kinds), width=5.2, height=3.6 + 0.12 * len(settings))
    for axis, kind in zip(axes[0], kinds, strict=True):
        own = {settings.index(key[:2]): curve for key, curve in curves.items() if key[2] == kind}
        _draw_curves(axis, own, [" · ".join(setting) for setting in settings])
        below = "rank of the TF for its target" if kind == RANK else "answers that name the TF"
        axis.set_xlabel(below, fontsize=8, color=INK)
        axis.set_ylabel(f"% of the edges in {reference}", fontsize=8, color=INK)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return save(figure, path)


def _draw_curves(axis: Axes, curves: Mapping[int, pd.DataFrame], labels: Sequence[str]) -> None:
    groups = list(dict.fromkeys(group for curve in curves.values() for group in curve["group"]))
    groups.sort(key=lambda group: group in (NOT_RANKED, NOT_NAMED))
    for order, (number, curve) in enumerate(curves.items()):
        shift = 0.5 * ((order + 0.5) / len(curves) - 0.5)
        places = [groups.index(group) + shift for group in curve["group"]]
        errors = 100 * (curve["share"] - curve["low"]), 100 * (curve["high"] - curve["share"])
        colour, marker = COLOURS[number % len(COLOURS)], _MARKERS[number // len(COLOURS) % len(_MARKERS)]
        style: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "markersize": 4,
            "linewidth": 1.2,
            "elinewidth": 0.9,
        }
        axis.errorbar(places, 100 * curve["share"], yerr=errors, label=labels[number], **style)
        axis.axhline(100 * curve["at_random"].iloc[0], color="#666666", linestyle="--", linewidth=0.8, zorder=0)
    axis.set_xticks(range(len(groups)), groups, fontsize=7, color=INK, rotation=25)
    axis.tick_params(axis="y", labelsize=7, colors=INK)
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
