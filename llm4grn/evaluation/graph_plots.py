"""A picture of the imposed graph: who regulates how many, and who is regulated by how many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.causal_graph import CausalGraph
from llm4grn.evaluation.plots import COLOURS, INK, panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 5


def plot_degrees(graph: CausalGraph, path: Path) -> Path:
    """Draw the targets of each TF, the busiest first and named, and how many targets have how many regulators.

    Parameters
    ----------
    graph
        With at least one edge.
    path
        Of the PNG.

    Returns
    -------
    ``path``.
    """
    targets = Counter(dict.fromkeys(graph.tf_names, 0))
    targets.update(tf for tfs in graph.regulators.values() for tf in tfs)
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
