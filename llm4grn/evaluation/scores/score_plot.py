"""Draw the answer: the scored sets of cells of every setting between real cells and a random network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from llm4grn.evaluation.scores.answers import DECISIVE, answers
from llm4grn.evaluation.scores.names import inferer_name, setting_name, varying_labels
from llm4grn.evaluation.scores.summary import Row
from llm4grn.evaluation.scores.verdicts import Verdict
from llm4grn.metrics.registry import METRICS
from llm4grn.report.blocks import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BASELINES = {"control": "control: real cells", "stage1": "stage 1: no network"}
_CAPTION = (
    "How far generated cells are from held-out real cells; further left is closer. Each small dot is one scored set of "
    "cells{colours}; each upright bar is the mean of its row, printed on the right. Solid line: the mean of the "
    "control, real cells in the place of generated ones, the closest that can be reached. {dashed}MMD compares the "
    "distributions of the cells; RF AUROC is how well a random forest tells real cells from generated ones, 0.5 if it "
    "cannot. Rows are named by who lists the transcription factors / who draws the network, and sorted by {first}."
)
_DASHED = "Dashed line: the mean of {name}, a network drawn at random. "


def with_figures(verdicts: Sequence[Verdict], rows: Sequence[Row], figures: Path) -> list[Verdict]:
    """Add to each verdict the picture of its data set, if a run was scored in a decisive metric.

    Parameters
    ----------
    verdicts, rows
        Verdicts and rows of the same results.
    figures
        Folder for the PNGs, ``answer_DATASET.png``.
    """
    return [replace(one, figure=_figure(one.dataset, rows, Path(figures))) for one in verdicts]


def _figure(dataset: str, rows: Sequence[Row], figures: Path) -> Figure | None:
    shown = [row for row in rows if row.dataset == dataset and not row.failed]
    metrics = [name for name in DECISIVE if any(name in row.mean for row in shown if row.source == "run")]
    if not metrics:
        return None
    main = next(iter(answers(shown)), None)
    random = main.random if main else None
    question = f"How close to real cells does each network come? Data set {dataset}"
    if main and main.subject.inferer == "llm":
        question = f"Can a language model ({inferer_name(main.subject)}) draw the gene regulatory network of {dataset}?"
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in dataset)
    path = plot_answer(shown, metrics, figures / f"answer_{safe}.png", question, random)
    seeds = {seed for row in shown for seed in row.seeds}
    name = random and setting_name(random, varying_labels(shown))
    caption = _CAPTION.format(
        colours=", coloured by seed" if len(seeds) > 1 else "",
        dashed=_DASHED.format(name=name) if name else "",
        first=METRICS[metrics[0]].label,
    )
    return Figure(question, path, caption)


def plot_answer(rows: Sequence[Row], metrics: Sequence[str], path: Path, title: str, random: Row | None) -> Path:
    """Draw the settings of one data set, a panel per metric: baselines on top, then the closest by the first metric.

    Parameters
    ----------
    rows
        Rows of one data set.
    metrics
        At least one metric; lower is better.
    path
        Output PNG path.
    title
        Title above the panels.
    random
        The random network for which a dashed line is drawn.
    """
    from llm4grn.report.figures import INK, panels, save

    ordered = sorted(rows, key=lambda row: (*(row.source != name for name in _BASELINES), *_means(row, metrics)))
    names = [fill(_BASELINES.get(row.source) or setting_name(row, varying_labels(rows)), 24) for row in ordered]
    n_lines = sum(name.count("\n") + 1 for name in names)
    figure, axes = panels(1, len(metrics), width=7.6 / len(metrics), height=1.9 + 0.36 * n_lines)
    seeds = sorted({seed for row in rows for seed in row.seeds})
    for axis, name in zip(axes[0], metrics, strict=True):
        _draw(axis, ordered, name, seeds, random)
        axis.set_yticks(range(len(names)), names if axis is axes[0, 0] else [""] * len(names), fontsize=13, color=INK)
        axis.set_ylim(len(names) - 0.4, -0.6)
    for label, row in zip(axes[0, 0].get_yticklabels(), ordered, strict=True):
        label.set_fontweight("bold" if row.inferer == "llm" else "normal")
    if len(seeds) > 1:
        handles = [axes[0, 0].scatter([], [], s=40, color=_colour(seeds, seed), label=f"seed {seed}") for seed in seeds]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=12, frameon=False)
    figure.suptitle(fill(title, 54), fontsize=15, color=INK, fontweight="bold")
    return save(figure, path)


def _draw(axis: Axes, rows: Sequence[Row], metric: str, seeds: Sequence[int], random: Row | None) -> None:
    from llm4grn.report.figures import INK

    info = METRICS[metric]
    control = next((row for row in rows if row.source == "control"), None)
    for row, label, style, rise in ((control, "real cells", "-", 2), (random, "random network", (0, (4, 3)), 16)):
        if row is not None and metric in row.mean:
            axis.axvline(row.mean[metric], color="#777777", linewidth=1.2, linestyle=style, zorder=1)
            place: dict[str, Any] = {
                "xycoords": axis.get_xaxis_transform(),
                "xytext": (0, rise),
                "textcoords": "offset points",
            }
            axis.annotate(label, (row.mean[metric], 1), ha="left" if row is control else "right", fontsize=11, **place)
    for height, row in enumerate(rows):
        for seed, values in row.samples.get(metric, {}).items():
            shift = 0.3 * (2 * seeds.index(seed) / (len(seeds) - 1) - 1) if len(seeds) > 1 else 0
            heights = [height + shift] * len(values)
            axis.scatter(values, heights, s=20, color=_colour(seeds, seed), alpha=0.75, linewidths=0, zorder=2)
        if metric in row.mean:
            mean = row.mean[metric]
            axis.vlines(mean, height - 0.42, height + 0.42, color=INK, linewidth=3, zorder=3)
            beside: dict[str, Any] = {
                "xycoords": axis.get_yaxis_transform(),
                "va": "center",
                "fontsize": 11,
                "color": INK,
            }
            axis.annotate(info.format(mean), (1.02, height), **beside)
    axis.set_title(f"{info.label} (lower is better)", fontsize=13, color=INK, pad=36)
    axis.tick_params(axis="x", labelsize=11, colors=INK)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=4)
    axis.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _means(row: Row, metrics: Sequence[str]) -> tuple[float, ...]:
    return tuple(METRICS[name].shortfall(row.mean.get(name, float("inf"))) for name in metrics)


def _colour(seeds: Sequence[int], seed: int) -> str:
    from llm4grn.report.figures import COLOURS

    return COLOURS[seeds.index(seed) % len(COLOURS)]
