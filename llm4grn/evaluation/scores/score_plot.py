"""The scores at a glance: every setting between the control and a random graph, with its seeds and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.evaluation.report.blocks import Figure
from llm4grn.evaluation.scores.statistics import CONFIDENCE, Interval, intervals
from llm4grn.evaluation.scores.summary import Row
from llm4grn.evaluation.scores.tables import setting_name, varying_labels
from llm4grn.evaluation.scores.verdicts import DECISIVE
from llm4grn.metrics.registry import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = {"control": ("-", "control"), "stage1": ((0, (4, 3)), "stage 1")}
_CAPTION = (
    "One line per setting: the large dot is its mean, the bar the {confidence:.0%} bootstrap interval of the mean, the "
    "small dots below are the means of single seeds. Hollow: random graphs. Solid line: the control (real cells in the "
    "place of generated ones, the best in reach); dashed: stage 1 (the GAN without a graph). Further left is better. "
    "Settings whose bars overlap can still differ, as seeds are paired: see the table of differences."
)


def score_figures(rows: Sequence[Row], figures: Path, seed: int = 0) -> list[Figure]:
    """One picture per data set of RF AUROC and MMD, which are what separates graphs.

    Parameters
    ----------
    rows
        From :func:`~llm4grn.evaluation.scores.summary.summarise`.
    figures
        Where the PNGs go.
    seed
        Of the resampling.
    """
    blocks = []
    for dataset in dict.fromkeys(row.dataset for row in rows if row.source == "run" and not row.failed):
        own = [row for row in rows if row.dataset == dataset and not row.failed]
        metrics = [name for name in DECISIVE if any(name in row.mean for row in own if row.source == "run")]
        if metrics:
            safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in dataset)
            path = plot_scores(own, metrics, figures / f"scores_{safe}.png", seed)
            blocks.append(Figure(f"Scores of {dataset} at a glance", path, _CAPTION.format(confidence=CONFIDENCE)))
    return blocks


def plot_scores(rows: Sequence[Row], metrics: Sequence[str], path: Path, seed: int = 0) -> Path:
    """Draw the rows of one data set, a panel per metric, the best on top by the first one."""
    from llm4grn.evaluation.cells.plots import INK, panels, save

    records = intervals(rows, seed)
    runs = sorted(
        (row for row in rows if row.source == "run"),
        key=lambda row: METRICS[metrics[0]].shortfall(row.mean.get(metrics[0], float("inf"))),
        reverse=True,
    )
    names = [setting_name(row, varying_labels(rows)) for row in runs]
    figure, axes = panels(1, len(metrics), width=4.6, height=1.3 + 0.34 * len(runs))
    for axis, name in zip(axes.flat, metrics, strict=True):
        _draw(axis, runs, [record for record in records if record.metric == name])
        axis.set_title(f"{METRICS[name].label} {METRICS[name].arrow}", fontsize=10, color=INK, pad=16)
        axis.set_yticks(range(len(runs)), names if axis is axes[0, 0] else [""] * len(runs), fontsize=9, color=INK)
        axis.set_ylim(-0.6, len(runs) - 0.4)
    return save(figure, path)


def _draw(axis: Axes, runs: Sequence[Row], records: Sequence[Interval]) -> None:
    from statistics import fmean

    from llm4grn.evaluation.cells.plots import COLOURS, INK

    lines = sorted((each for each in records if each.row.source in _LINES), key=lambda each: each.mean)
    for record in lines:
        style, label = _LINES[record.row.source]
        axis.axvline(record.mean, color="#777777", linewidth=1, linestyle=style, zorder=1)
        side = "right" if record is lines[0] and len(lines) > 1 else "left"  # so that no label lies on another
        axis.annotate(
            *(label, (record.mean, 1)),
            **{"xycoords": axis.get_xaxis_transform(), "xytext": (2 if side == "right" else -2, 3)},
            **{"textcoords": "offset points", "ha": side, "va": "bottom", "fontsize": 7.5, "color": "#555555"},
        )
    for height, row in enumerate(runs):
        record = next((each for each in records if each.row is row), None)
        if record is None:
            continue
        colour, hollow = COLOURS[1], row.inferer == "random"
        seeds = [fmean(values) for values in row.samples[record.metric].values()]
        axis.scatter(seeds, [height - 0.24] * len(seeds), s=12, color=colour, alpha=0.55, linewidths=0, zorder=2)
        if record.low is not None:
            axis.hlines(height, record.low, record.high, color=colour, linewidth=2.2, alpha=0.8, zorder=2)
        fill = "white" if hollow else colour
        axis.scatter(record.mean, height, s=60, zorder=3, linewidths=1.8, edgecolors=colour, facecolors=fill)
    axis.tick_params(axis="x", labelsize=8, colors=INK)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.margins(x=0.08)
