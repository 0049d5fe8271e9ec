"""Pictures of imposed graphs: out-degrees of TFs, in-degrees of targets, overlaps, recovery curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.report.figures import COLOURS, INK, panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from llm4grn.evaluation.graphs.overlap import Overlap
    from llm4grn.evaluation.graphs.recovery_score import Recovery

_NAMED = 5
_CURVES_PER_ROW = 3
_CURVES = {"synthetic": (COLOURS[1], "synthetic cells"), "real": (COLOURS[4], "real test cells")}


def out_degrees(graph: CausalGraph) -> Counter[str]:
    """Return the number of targets of each regulator, including roots without targets."""
    degrees = Counter(dict.fromkeys(graph.tf_names, 0))
    degrees.update(tf for tfs in graph.regulators.values() for tf in tfs)
    return degrees


def plot_degrees(graph: CausalGraph, path: Path) -> Path:
    """Draw the number of targets of each TF, with the largest hubs named, and of regulators of each target.

    Parameters
    ----------
    graph
        A graph with at least one edge.
    path
        Output PNG path.

    Returns
    -------
    ``path``.
    """
    targets = out_degrees(graph)
    regulators = Counter(len(tfs) for tfs in graph.regulators.values())
    figure, axes = panels(1, 2, width=4.2, height=3.2)
    _draw_hubs(axes[0, 0], targets)
    axes[0, 1].bar(list(regulators), list(regulators.values()), width=0.8, color=COLOURS[0])
    axes[0, 1].set_xlim(0, max(regulators) + 1)
    labels = [("regulators", f"targets with so many TFs ({len(graph.targets)} targets)")]
    labels.insert(0, ("TFs, the busiest first", f"targets of each TF ({len(targets)} TFs)"))
    for axis, (below, title) in zip(axes.flat, labels, strict=True):
        axis.set_title(title, fontsize=9, color=INK)
        axis.set_xlabel(below, fontsize=8, color=INK)
        axis.tick_params(labelsize=7, colors=INK)
        axis.set_ylim(bottom=0)
        axis.locator_params(integer=True, nbins=8)
        axis.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def _draw_hubs(axis: Axes, targets: Counter) -> None:
    ranked = sorted(targets.items(), key=lambda item: (-item[1], item[0]))
    numbers = [number for _, number in ranked]
    axis.bar(range(1, len(numbers) + 1), numbers, width=1.0, color=COLOURS[1])
    axis.margins(x=0.01)
    busiest = [f"{name}  {number}" for name, number in ranked[:_NAMED]]
    axis.text(0.98, 0.97, "\n".join(busiest), transform=axis.transAxes, ha="right", va="top", fontsize=8, color=INK)


def plot_all_degrees(graphs: Mapping[str, Sequence[CausalGraph]], path: Path) -> Path:
    """Draw the degrees in the graphs of several settings, one row each: of TFs on the left, of targets on the right.

    Parameters
    ----------
    graphs
        Label of a setting to its graphs (of several seeds), each with at least one edge.
    path
        Output PNG path.

    Returns
    -------
    ``path``.
    """
    figure, axes = panels(1, 2, width=4.8, height=1.3 + 0.42 * len(graphs))
    left, right = axes[0]
    for row, members in enumerate(graphs.values()):
        _draw_tf_row(left, row, members)
        _draw_target_row(right, row, members)
        left.axhline(row, color="#eeeeee", linewidth=0.8, zorder=0)
        right.axhline(row, color="#eeeeee", linewidth=0.8, zorder=0)
    left.set_yticks(range(len(graphs)), list(graphs), fontsize=8, color=INK)
    right.set_yticks(range(len(graphs)), [""] * len(graphs))
    left.set_xlabel("% of the targets that a TF regulates", fontsize=8, color=INK)
    right.set_xlabel("regulators of a target", fontsize=8, color=INK)
    for axis in (left, right):
        axis.set_ylim(len(graphs) - 0.4, -0.6)
        axis.tick_params(axis="x", labelsize=7, colors=INK)
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.margins(x=0.12)
    left.set_xlim(0, 1.06 * left.get_xlim()[1])
    right.set_xlim(left=0)
    right.locator_params(axis="x", integer=True, nbins=8)
    return save(figure, path)


def _draw_tf_row(axis: Axes, row: int, graphs: Sequence[CausalGraph]) -> None:
    """Draw one dot per TF, with vertical jitter to separate TFs with similar numbers of targets."""
    import numpy as np

    hubs = [(100 * n / len(graph.targets), tf) for graph in graphs for tf, n in out_degrees(graph).items()]
    shares = np.array([share for share, _ in hubs])
    jitter = np.random.default_rng(row).uniform(-0.24, 0.24, len(shares))
    axis.scatter(shares, row + jitter, s=9, color=COLOURS[1], alpha=0.45, linewidths=0)
    axis.plot([np.median(shares)] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.4)
    largest, hub = max(hubs)
    axis.annotate(hub, (largest, row), (5, 0), textcoords="offset points", fontsize=7, color=INK, va="center")


def _draw_target_row(axis: Axes, row: int, graphs: Sequence[CausalGraph]) -> None:
    """Draw one dot per number of regulators, its area the share of targets with that number."""
    counts = Counter(len(tfs) for graph in graphs for tfs in graph.regulators.values())
    total = counts.total()
    axis.scatter(list(counts), [row] * len(counts), s=[160 * n / total for n in counts.values()], color=COLOURS[0])
    most, n = max(counts.items(), key=lambda item: item[1])
    axis.annotate(
        f"{100 * n / total:.0f} %", (most, row), (0, 8), textcoords="offset points", fontsize=7, color=INK, ha="center"
    )


def plot_overlaps(compared: Sequence[Overlap], path: Path) -> Path:
    """Draw the overlap of each two settings of one data set as a heat map (Figure 2 of the paper).

    Parameters
    ----------
    compared
        At least one overlap. A setting with itself is on the diagonal; pairs that were not compared are empty; an
        overlap of graphs from different splits has a star.
    path
        Output PNG path.

    Returns
    -------
    ``path``.
    """
    import numpy as np

    settings = list(dict.fromkeys(setting for each in compared for setting in (each.a, each.b)))
    values, stars = np.full((len(settings), len(settings)), np.nan), {}
    for each in compared:
        i, j = settings.index(each.a), settings.index(each.b)
        values[i, j] = values[j, i] = np.mean(each.values)
        stars[i, j] = stars[j, i] = "" if each.same_cells else "*"
    side = 1.6 + 0.75 * len(settings)
    figure, axes = panels(1, 1, width=side + 1.6, height=side)
    axis = axes[0, 0]
    image = axis.imshow(values, cmap="cividis", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(values):
        text = f"{value:.2f}{stars[i, j]}" if (i, j) in stars else "–"
        colour = "#666666" if text == "–" else "white" if value < 0.55 else "black"
        axis.text(j, i, text, ha="center", va="center", fontsize=9, color=colour)
    labels = ["\n".join(setting[1:]) for setting in settings]
    axis.set_xticks(range(len(labels)), labels, fontsize=8, color=INK, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(labels)), labels, fontsize=8, color=INK)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, shrink=0.8)
    bar.set_label("overlap", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    return save(figure, path)


def plot_curves(recoveries: Mapping[str, Mapping[str, Sequence[Recovery]]], path: Path) -> Path:
    """Draw precision-recall curves, one panel per setting, one line per run.

    Parameters
    ----------
    recoveries
        Panel label to kind of cells (``synthetic``, ``real``) to the recoveries of all runs.
    path
        Output PNG path.

    Returns
    -------
    ``path``.
    """
    n_columns = min(_CURVES_PER_ROW, len(recoveries))
    figure, axes = panels(-(-len(recoveries) // n_columns), n_columns, width=3.3, height=3.1)
    for axis in axes.flat[len(recoveries) :]:
        axis.set_axis_off()
    for axis, (label, kinds) in zip(axes.flat, recoveries.items(), strict=False):
        for kind, runs in kinds.items():
            colour, name = _CURVES[kind]
            for i, run in enumerate(runs):
                axis.plot(run.recall, run.precision, color=colour, linewidth=1.3, alpha=0.8, label=None if i else name)
        chance = runs[0].random_auprc
        axis.axhline(chance, color="#666666", linestyle="--", linewidth=1, label="random order")
        axis.set(xlim=(0, 1), ylim=(0, 1.02))
        axis.set_title(label, fontsize=9, color=INK)
        axis.set_xlabel("recall", fontsize=8, color=INK)
        axis.set_ylabel("precision", fontsize=8, color=INK)
        axis.tick_params(labelsize=7, colors=INK)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    return save(figure, path)
