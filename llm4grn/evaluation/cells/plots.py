"""Pictures of a run: real and generated cells in one embedding, and the training losses."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.embedding import tsne
from llm4grn.report.figures import COLOURS, INK, panels, save
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from scipy.sparse import spmatrix

    Cells: TypeAlias = np.ndarray | spmatrix

_REAL = "#9a9a9a"
_LOSSES_PER_ROW = 3
_LEGEND: dict[str, Any] = {"frameon": False, "ncols": 2, "markerscale": 1.8, "handletextpad": 0.1, "columnspacing": 1.0}


def joint_tsne(
    real: Cells,
    sets: Mapping[str, Cells],
    path: Path,
    seed: int,
    *,
    rf_auroc: Mapping[str, float] | None = None,
    max_cells: int = 500,
    base: str = "real test cells",
) -> Path:
    """Draw every set of cells over the real test cells, one panel each, all in one joint t-SNE.

    The embedding starts from log1p of counts normalised to 20,000 per cell, reduced to 50 principal components of all
    sets together. It is easier to read than the space of the metrics, which are computed without log.

    Parameters
    ----------
    real
        Held-out cells of shape (n_cells, n_genes), dense or sparse, in counts normalised to 20,000 per cell; grey.
    sets
        Label to cells over the same genes, in the order of the panels: control, stage 1, run.
    path
        Output PNG path.
    seed
        Seed for subsampling and the embedding.
    rf_auroc
        Label to the RF AUROC that its title shows.
    max_cells
        Maximum number of cells drawn of each set; more take longer and hide one another.
    base
        Legend label of the grey cells.

    Returns
    -------
    ``path``.
    """
    return save(draw_joint_tsne(real, sets, seed, rf_auroc=rf_auroc, max_cells=max_cells, base=base), path)


def draw_joint_tsne(
    real: Cells,
    sets: Mapping[str, Cells],
    seed: int,
    *,
    rf_auroc: Mapping[str, float] | None = None,
    max_cells: int = 500,
    base: str = "real test cells",
) -> Figure:
    """Return the figure of :func:`joint_tsne`."""
    rng = np.random.default_rng(derive_seed(seed, "joint_tsne", "cells"))
    drawn = [_log_cells(cells, max_cells, rng) for cells in (real, *sets.values())]
    embedded = tsne(np.concatenate(drawn), derive_seed(seed, "joint_tsne", "embedding"))
    grey, *coloured = np.split(embedded, np.cumsum([len(cells) for cells in drawn])[:-1])

    figure, axes = panels(1, len(sets), width=3.6, height=3.9)
    margin = 0.04 * np.ptp(embedded, axis=0)
    limits = np.stack([embedded.min(axis=0) - margin, embedded.max(axis=0) + margin])
    for i, (axis, label, points) in enumerate(zip(axes.flat, sets, coloured, strict=True)):
        axis.scatter(*grey.T, s=11, color=_REAL, alpha=0.75, linewidths=0, label=base)
        colour = COLOURS[i % len(COLOURS)]
        axis.scatter(*points.T, s=8, color=colour, alpha=0.75, linewidths=0, label=label)
        axis.set(xlim=limits[:, 0], ylim=limits[:, 1], xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="#dddddd")
        value = (rf_auroc or {}).get(label)
        axis.set_title(label if value is None else f"{label}\nRF AUROC {value:.3f}", fontsize=10, color=INK)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), fontsize=8, **_LEGEND)
    figure.supxlabel("joint t-SNE of log1p counts (50 PCs of all sets together)", fontsize=8, color="#666666")
    return figure


def _log_cells(cells: Cells, max_cells: int, rng: np.random.Generator) -> np.ndarray:
    if cells.shape[0] > max_cells:
        cells = cells[np.sort(rng.choice(cells.shape[0], size=max_cells, replace=False))]
    dense = cells.toarray() if hasattr(cells, "toarray") else cells
    return np.log1p(np.asarray(dense, dtype=np.float64))


def read_history(path: Path) -> dict[str, list[float]]:
    """Read the columns of a CSV of losses; an empty entry becomes NaN.

    Raises
    ------
    UserError
        If the file does not exist, or a column holds text.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of losses; give the CSV that training wrote")
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        rows = list(reader)
    try:
        return {name: [float(row[name] or "nan") for row in rows] for name in reader.fieldnames or ()}
    except ValueError as error:
        raise UserError(f"{path}: a column holds no numbers ({error}); give the CSV that training wrote") from error


def plot_losses(histories: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> Path:
    """Draw every loss of every stage against the generator step; each stage starts a row of panels.

    Parameters
    ----------
    histories
        Stage to its table (from :func:`read_history`, or a data frame): column ``step`` and one column per loss, NaN
        where nothing was recorded. ``epoch`` and columns without numbers are left out.
    path
        Output PNG path.

    Returns
    -------
    ``path``.

    Raises
    ------
    UserError
        If no loss was recorded, or a table has no column ``step``.
    """
    tables = {stage: _recorded(stage, table) for stage, table in histories.items()}
    longest = max((len(curves) for curves in tables.values()), default=0)
    if not longest:
        raise UserError("losses: nothing recorded to draw; give the tables of at least one trained stage")
    n_columns = min(_LOSSES_PER_ROW, longest)
    n_rows = {stage: -(-len(curves) // n_columns) for stage, curves in tables.items()}
    figure, axes = panels(sum(n_rows.values()), n_columns, width=3.2, height=2.1)
    blocks = np.split(axes, np.cumsum(list(n_rows.values()))[:-1])
    for (stage, curves), block in zip(tables.items(), blocks, strict=True):
        for axis in block.flat[len(curves) :]:
            axis.set_axis_off()
        for axis, (name, (steps, values)) in zip(block.flat, curves.items(), strict=False):
            axis.plot(steps, values, color=COLOURS[1], linewidth=0.9)
            axis.set_title(f"{stage}: {name.replace('_', ' ')}", fontsize=8, color=INK)
            axis.tick_params(labelsize=7, colors=INK)
            axis.grid(color="#eeeeee", linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_xlabel("generator step", fontsize=7, color=INK)
    return save(figure, path)


def _recorded(stage: str, table: Mapping[str, Sequence[float]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return steps and values of each loss, where both are finite."""
    if "step" not in table:
        raise UserError(f"losses of {stage}: column 'step' missing; give a table of step and losses")
    steps, curves = np.asarray(table["step"], dtype=float), {}
    for name in table:
        values = np.asarray(table[name], dtype=float)
        kept = np.isfinite(values) & np.isfinite(steps)
        if name not in ("step", "epoch") and kept.any():
            curves[name] = steps[kept], values[kept]
    return curves
