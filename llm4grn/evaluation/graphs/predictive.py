"""Held-out predictive score: how well do a graph's regulators predict their targets in cells that were not used?

For each target, a model of the expression of its regulators is fitted on training cells and scored by R² on test cells.
R² is 1 minus the squared error over that of the target's mean in the test cells, and negative where the model is worse
than the mean. A graph is compared with random graphs, in which each target has as many regulators, and with a ceiling,
in which each target has all TFs.

Two models: ridge regression, and gradient-boosted trees, because a linear model flatters graphs of correlations. Two
spaces: raw log expression, in which a graph scores by naming the genes that mark a cell type, and within cell type,
where type and sequencing depth are regressed out (:mod:`llm4grn.evaluation.graphs.held_out`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from llm4grn.evaluation.graphs.held_out import SPACES, HeldOut
from llm4grn.evaluation.graphs.predictive_score import PredictiveScore
from llm4grn.evaluation.graphs.regression import Regression, fit_ridge, ridge, trees
from llm4grn.runtime.progress import progress
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import atomic_write

if TYPE_CHECKING:
    import pandas as pd

    from llm4grn.grn.causal_graph import CausalGraph

Model = Literal["ridge", "trees"]
MODELS: dict[str, Regression] = {"ridge": ridge, "trees": trees}
#: Number of random graphs; trees take longer.
DRAWS = {"ridge": 10, "trees": 2}
_ARRAYS = ("r2_random", "r2_all", "errors", "predictable")


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What graphs of the same targets and numbers of regulators are compared with, for one model and space.

    Parameters
    ----------
    r2_random
        R² of each target, mean over random graphs (n_targets,).
    r2_all
        R² of each target with all TFs (n_targets,).
    errors
        Squared errors, mean over random graphs (n_test, n_targets).
    predictable
        Whether all TFs explain anything of a target in the training cells, by cross-validated ridge regression.
    """

    r2_random: np.ndarray
    r2_all: np.ndarray
    errors: np.ndarray
    predictable: np.ndarray


@dataclass(frozen=True, eq=False)
class PredictiveRuler:
    """Yardsticks of one data set, which all graphs with the same targets and numbers of regulators share.

    Parameters
    ----------
    cells
        Training and test cells.
    tf_names
        Transcription factors from which regulators are drawn.
    targets
        Targets.
    sizes
        Number of regulators of each target.
    yardsticks
        Yardstick by space and model.
    """

    cells: HeldOut
    tf_names: tuple[str, ...]
    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    yardsticks: Mapping[tuple[str, str], Yardstick]

    @classmethod
    def of(
        cls,
        cells: HeldOut,
        graph: CausalGraph,
        tf_names: Sequence[str],
        models: Sequence[Model] = ("ridge",),
        seed: int = 0,
    ) -> PredictiveRuler:
        """Measure random graphs and the ceiling.

        Parameters
        ----------
        cells
            Training and test cells.
        graph
            Graph whose targets and numbers of regulators are used; nothing else of it is.
        tf_names
            Transcription factors.
        models
            Models to fit.
        seed
            Seed for the random graphs.
        """
        targets = tuple(graph.targets)
        sizes = sizes_of(graph)
        drawn = _random_lists(tf_names, targets, sizes, max(DRAWS.values()), seed)
        everything = _all_lists(tf_names, targets)
        yardsticks: dict[tuple[str, str], Yardstick] = {}
        for space in SPACES:
            x, y, x_test, y_test = _arrays(cells, space, tf_names, targets)
            by_all = fit_ridge(x, y, everything)
            for model in models:
                bar = progress(drawn[: DRAWS[model]], desc=f"random graphs, {model}, {space}", unit="graph")
                errors = [(y_test - MODELS[model](x, y, x_test, lists)) ** 2 for lists in bar]
                best = by_all.predict(x_test) if model == "ridge" else MODELS[model](x, y, x_test, everything)
                yardsticks[space, model] = Yardstick(
                    r2_random=np.mean([_r2(error, y_test) for error in errors], axis=0),
                    r2_all=_r2((y_test - best) ** 2, y_test),
                    errors=np.asarray(np.mean(errors, axis=0, dtype=np.float32)),
                    predictable=by_all.cv_r2 > 0,
                )
        return cls(cells, tuple(tf_names), targets, sizes, yardsticks)

    def write(self, path: Path) -> None:
        """Write the yardsticks as ``.npz``."""
        arrays = {
            f"{number}/{name}": getattr(yardstick, name)
            for number, yardstick in enumerate(self.yardsticks.values())
            for name in _ARRAYS
        }
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, names=np.array(list(self.yardsticks)), **arrays)

    @classmethod
    def read(cls, path: Path, cells: HeldOut, graph: CausalGraph, tf_names: Sequence[str]) -> PredictiveRuler:
        """Read what :meth:`write` wrote for the same cells, TFs, targets and numbers of regulators."""
        with np.load(path, allow_pickle=False) as file:
            names = [(str(space), str(model)) for space, model in file["names"]]
            yardsticks = {
                name: Yardstick(**{array: file[f"{number}/{array}"] for array in _ARRAYS})
                for number, name in enumerate(names)
            }
        return cls(cells, tuple(tf_names), tuple(graph.targets), sizes_of(graph), yardsticks)

    def score(self, graph: CausalGraph) -> PredictiveScore:
        """Score a graph with the targets and numbers of regulators of this ruler.

        Raises
        ------
        ValueError
            If it has others.
        """
        import pandas as pd

        if (tuple(graph.targets), sizes_of(graph)) != (self.targets, self.sizes):
            raise ValueError("the graph has other targets or numbers of regulators than this ruler")
        lists = _lists(self.tf_names, [graph.regulators[target] for target in self.targets])
        tables = []
        for (space, model), yardstick in self.yardsticks.items():
            x, y, x_test, y_test = _arrays(self.cells, space, self.tf_names, self.targets)
            errors = (y_test - MODELS[model](x, y, x_test, lists)) ** 2
            columns = {
                "target": self.targets,
                "cells": space,
                "model": model,
                "n_regulators": self.sizes,
                "r2": _r2(errors, y_test),
                "r2_random": yardstick.r2_random,
                "r2_all": yardstick.r2_all,
                "p": _p_values(yardstick.errors - errors),
                "predictable": yardstick.predictable,
            }
            tables.append(pd.DataFrame(columns))
        return PredictiveScore(pd.concat(tables, ignore_index=True))


def sizes_of(graph: CausalGraph) -> tuple[int, ...]:
    """Return the number of regulators of each target, in the order of ``graph.targets``."""
    return tuple(len(graph.regulators[target]) for target in graph.targets)


def dropped_edge_gains(cells: HeldOut, graph: CausalGraph, edges: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Measure how much R² on test cells (ridge regression) falls when one edge of a graph is dropped.

    Parameters
    ----------
    cells
        Training and test cells.
    graph
        Graph with the edges.
    edges
        TF and target of each edge to drop.

    Returns
    -------
    DataFrame
        ``TF``, ``target``, and one column per space. A TF that the others can stand in for has a gain near 0.
    """
    import pandas as pd

    targets = [target for _, target in edges]
    tf_names = sorted({tf for target in set(targets) for tf in graph.regulators[target]})
    whole = _lists(tf_names, [graph.regulators[target] for target in targets])
    without = _lists(tf_names, [[r for r in graph.regulators[target] if r != tf] for tf, target in edges])
    table = pd.DataFrame(list(edges), columns=["TF", "target"])
    for space in SPACES:
        x, y, x_test, y_test = _arrays(cells, space, tf_names, targets)
        r2 = [_r2((y_test - ridge(x, y, x_test, lists)) ** 2, y_test) for lists in (whole, without)]
        table[space] = r2[0] - r2[1]
    return table


def _arrays(cells: HeldOut, space: str, tf_names: Sequence[str], targets: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Return TFs and targets in the training cells, then in the test cells."""
    tfs, own = cells.columns(tf_names), cells.columns(targets)
    train, test = cells.train[space], cells.test[space]
    return train[:, tfs], train[:, own], test[:, tfs], test[:, own]


def _r2(squared_errors: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return R² of each target (n_targets,) from squared errors (n_cells, n_targets); nan if it does not vary."""
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    return np.where(total > 1e-12, 1 - squared_errors.sum(axis=0) / np.where(total > 1e-12, total, 1), np.nan)


def _p_values(differences: np.ndarray) -> np.ndarray:
    """Return one-sided p-values of a mean above 0 for each column of (n_cells, n_targets); 1 where nothing varies."""
    from scipy import stats

    n = len(differences)
    error = differences.std(axis=0, ddof=1) / np.sqrt(n)
    t = np.divide(differences.mean(axis=0), error, out=np.full(error.shape, -np.inf), where=error > 0)
    return np.asarray(stats.t.sf(t, n - 1))


def _lists(tf_names: Sequence[str], regulators: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the positions of the regulators of each target, -1 in empty places."""
    position = {tf: i for i, tf in enumerate(tf_names)}
    lists = np.full((len(regulators), max(1, *map(len, regulators))), -1)
    for row, names in zip(lists, regulators, strict=True):
        row[: len(names)] = sorted(position[name] for name in names)
    return lists


def _all_lists(tf_names: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Return all TFs for each target, without the target itself."""
    lists = np.tile(np.arange(len(tf_names)), (len(targets), 1))
    return np.where(np.array(tf_names, object) == np.array(targets, object)[:, None], -1, lists)


def _random_lists(
    tf_names: Sequence[str], targets: Sequence[str], sizes: Sequence[int], n_draws: int, seed: int
) -> list[np.ndarray]:
    """Draw regulators of each target at random, as many as its graph has, without the target itself."""
    rng = np.random.default_rng(derive_seed(seed, "predictive", "random"))
    candidates = _all_lists(tf_names, targets)
    widest, drawn = max(sizes), []
    for _ in range(n_draws):
        # Sorted by random numbers; the target itself comes last.
        order = np.argsort(rng.random(candidates.shape) + (candidates < 0), axis=1)[:, :widest]
        lists = np.take_along_axis(candidates, order, axis=1)
        drawn.append(np.where(np.arange(lists.shape[1]) < np.array(sizes)[:, None], lists, -1))
    return drawn
