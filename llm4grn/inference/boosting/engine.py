"""GRNBoost2 without scikit-learn: all targets of a data set are boosted in parallel on threads.

The algorithm is that of ``arboreto.algo.grnboost2``: scikit-learn's stochastic gradient boosting with early stopping on
the out-of-bag loss. Only the random draws differ: the cells and TFs of a tree depend on the seed and the number of the
tree alone, so that sixteen targets can share one pass over the data (see :mod:`llm4grn.inference.boosting.trees`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix

from llm4grn.inference.boosting.arrays import Columns
from llm4grn.inference.boosting.compiled import compiled
from llm4grn.inference.boosting.draws import mix
from llm4grn.inference.boosting.lanes import LANES
from llm4grn.inference.boosting.trees import WINDOW, boost
from llm4grn.runtime.progress import progress

N_TREES = 5000
MAX_FEATURES = 0.1
# Half of the targets stop within a few trees of the earliest possible stop. After these numbers of trees, and then at
# doubling intervals, the remaining targets are packed into full blocks, so that stopped targets occupy no lanes.
_STOPS = (WINDOW, WINDOW + 1, WINDOW + 3, WINDOW + 7)
_BLOCKS_PER_TASK = 8
_RESIDUALS = 2**30  # bytes of residuals in memory at once, apart from those that are being repacked
_FEATURE_THRESHOLD = 1e-7  # as in scikit-learn: no threshold between values closer than this


class Lane(NamedTuple):
    """Residuals of one target: ``residuals[block, :, lane]`` of shape (n_blocks, n_cells, LANES); None at the start."""

    target: int
    residuals: np.ndarray | None = None
    block: int = 0
    lane: int = 0


class Problem(NamedTuple):
    """Targets to be regressed, and everything that their trees depend on except the seed.

    Attributes
    ----------
    columns
        Values of the TFs.
    responses
        Expression of the targets, float64, canonical, shape (n_cells, n_targets).
    owns
        TF that each target itself is, int32, shape (n_targets,); -1 if it is not a TF.
    n_tries
        Number of TFs tried at each node.
    """

    columns: Columns
    responses: csc_matrix
    owns: np.ndarray
    n_tries: int

    def part(self, start: int, stop: int) -> Problem:
        """Return the problem of targets ``start`` to ``stop - 1``, which get the same importances as in the whole."""
        return self._replace(responses=self.responses[:, start:stop], owns=self.owns[start:stop])


def prepare(tf_matrix: csc_matrix, responses: csc_matrix, owns: np.ndarray) -> Problem:
    """Prepare what all seeds share; the parameters are those of :func:`boosted_importances`."""
    owns = np.asarray(owns, np.int32)
    n_tries = max(1, int(MAX_FEATURES * (tf_matrix.shape[1] - (owns.max(initial=-1) >= 0))))
    return Problem(presort(tf_matrix), _canonical(responses, np.float64), owns, n_tries)


def boosted_importances(
    tf_matrix: csc_matrix, responses: csc_matrix, owns: np.ndarray, seed: int, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute GRNBoost2's importances of all TFs for all targets.

    Parameters
    ----------
    tf_matrix
        Expression of the TFs, shape (n_cells, n_tfs). The result depends on the order of the TFs.
    responses
        Expression of the targets, none of them constant, shape (n_cells, n_targets). Each is regressed independently.
    owns
        TF that each target itself is, shape (n_targets,); -1 if it is not a TF. No target is regressed on itself.
    seed
        Seed that determines all random draws.
    n_threads
        Number of threads; it affects the run time, not the result.

    Returns
    -------
    importances : (n_targets, n_tfs), float64
        The importances of a target sum to its number of trees.
    n_trees : (n_targets,), int64
        Number of trees of each target.
    """
    return boost_targets(prepare(tf_matrix, responses, owns), seed, n_threads)


def boost_on_threads(problem: Problem, seeds: Sequence[int], n_threads: int) -> np.ndarray:
    """Compute importances with each seed, shape (n_seeds, n_targets, n_tfs), with a progress bar over targets.

    Targets whose residuals take more than a gigabyte in all are boosted one part after the other.
    """
    n_cells, n_targets = problem.responses.shape
    size = LANES * max(n_threads, _RESIDUALS // (4 * n_cells * LANES))
    importances = np.empty((len(seeds), n_targets, len(problem.columns.floors)))
    with progress(total=len(seeds) * n_targets, desc="GRNBoost2", unit="target") as bar:
        for run, seed in enumerate(seeds):
            for start in range(0, n_targets, size):
                part = problem.part(start, start + size)
                importances[run, start : start + size] = boost_targets(part, seed, n_threads, bar.update)[0]
    return importances


def boost_targets(
    problem: Problem, seed: int, n_threads: int, advance: Callable[[int], object] = lambda n_finished: None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute importances as :func:`boosted_importances`; ``advance`` gets the number of targets just finished."""
    columns, responses, owns, n_tries = problem
    n_cells, n_targets = responses.shape
    n_tfs = len(columns.floors)
    key = np.uint64(mix(np.uint64(seed)))
    losses = np.zeros((n_targets, WINDOW))
    n_trees = np.zeros(n_targets, np.int64)
    removed = np.zeros((n_targets, n_tfs))

    def grow(first: int, last: int, lanes: list[Lane]) -> list[Lane]:
        """Grow trees ``first`` to ``last - 1``; return the targets that have not stopped."""
        residuals = _aligned((-(-len(lanes) // LANES), n_cells, LANES))
        targets = np.full(residuals.shape[0] * LANES, -1)
        for i, lane in enumerate(lanes):
            targets[i] = lane.target
            block, place = divmod(i, LANES)
            if lane.residuals is None:
                _standardise(responses.indptr, responses.indices, responses.data, lane.target, residuals[block], place)
            else:
                residuals[block, :, place] = lane.residuals[lane.block, :, lane.lane]
        boost(first, last, key, n_tries, columns, residuals.reshape(-1), targets, owns, losses, n_trees, removed)
        return [Lane(int(targets[i]), residuals, *divmod(int(i), LANES)) for i in np.flatnonzero(targets >= 0)]

    alive = [Lane(target) for target in range(n_targets)]
    first = 0
    with ThreadPoolExecutor(n_threads) as threads:
        for last in _stops():
            tasks = list(_tasks(alive, n_threads))
            alive = []
            for task, rest in zip(tasks, threads.map(partial(grow, first, last), tasks), strict=True):
                advance(len(task) - len(rest) if last < N_TREES else len(task))
                alive += rest
            if not alive:
                break
            first = last
    totals = removed.sum(axis=1, keepdims=True)
    return np.divide(removed * n_trees[:, None], totals, out=np.zeros_like(removed), where=totals > 0), n_trees


def presort(tf_matrix: csc_matrix) -> Columns:
    """Sort each TF's values above its minimum in descending order; equal values stay in the order of the cells."""
    tf_matrix = _canonical(tf_matrix, np.float32)
    cells, values, runs, owners, floors = [], [], [], [], []
    for f in range(tf_matrix.shape[1]):
        column = slice(tf_matrix.indptr[f], tf_matrix.indptr[f + 1])
        rows, stored = tf_matrix.indices[column], tf_matrix.data[column]
        if len(stored) == tf_matrix.shape[0] or stored.min(initial=0) < 0:
            stored = tf_matrix[:, [f]].toarray().ravel()
            rows = np.arange(len(stored), dtype=np.int32)
        floor = stored.min() if len(stored) == tf_matrix.shape[0] else np.float32(0)
        above = stored > floor + np.float32(_FEATURE_THRESHOLD)
        order = np.argsort(-stored[above], kind="stable")
        ordered = stored[above][order]
        cells.append(rows[above][order])
        values.append(ordered)
        runs.append(np.append(True, ordered[:-1] > ordered[1:] + np.float32(_FEATURE_THRESHOLD))[: len(ordered)])
        owners.append(np.full(len(ordered), f))
        floors.append(floor)
    return Columns(
        np.concatenate([[0], np.cumsum([len(column) for column in cells])]).astype(np.int64),
        np.concatenate(cells).astype(np.int32),
        np.concatenate(values).astype(np.float32),
        np.cumsum(np.concatenate(runs)).astype(np.int32),
        np.concatenate(owners).astype(np.int32),
        np.array(floors, np.float32),
    )


def _canonical(matrix: csc_matrix, dtype: type) -> csc_matrix:
    """Copy a matrix to canonical sparse form: sorted, without duplicates or stored zeros."""
    matrix = csc_matrix(matrix, dtype=dtype, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _stops() -> Iterator[int]:
    """Yield the numbers of trees after which the remaining targets are repacked, up to ``N_TREES``."""
    yield from _STOPS
    stop = _STOPS[-1]
    while stop < N_TREES:
        stop = min(N_TREES, WINDOW + 2 * (stop - WINDOW) + 1)
        yield stop


def _tasks(lanes: list[Lane], n_threads: int) -> Iterator[list[Lane]]:
    """Divide the targets into tasks of whole blocks, of nearly equal size."""
    n_blocks = -(-len(lanes) // LANES)
    n_tasks = min(n_blocks, max(n_threads, -(-n_blocks // _BLOCKS_PER_TASK)))
    bounds = np.linspace(0, n_blocks, n_tasks + 1).round().astype(int) * LANES
    for start, stop in pairwise(bounds):
        yield lanes[start:stop]


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Allocate float32 zeros aligned to a cache line, so that the lanes of a cell occupy exactly one line."""
    line, size = 64, int(np.prod(shape)) * 4
    memory = np.zeros(size + line, np.uint8)
    start = -memory.ctypes.data % line
    return memory[start : start + size].view(np.float32).reshape(shape)


@compiled
def _standardise(
    starts: np.ndarray, cells: np.ndarray, values: np.ndarray, target: int, residuals: np.ndarray, lane: int
) -> None:
    """Write a target's standardised expression (mean 0, standard deviation 1) into one lane."""
    n_cells = len(residuals)
    start, stop = starts[target], starts[target + 1]
    mean = 0.0
    for i in range(start, stop):
        mean += values[i]
    mean /= n_cells
    squares = mean * mean * (n_cells - (stop - start))
    for i in range(start, stop):
        squares += (values[i] - mean) ** 2
    scale = np.sqrt(squares / n_cells)
    for cell in range(n_cells):
        residuals[cell, lane] = -mean / scale
    for i in range(start, stop):
        residuals[cells[i], lane] = (values[i] - mean) / scale
