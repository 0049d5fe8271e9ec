"""Arrays of the compiled trees of GRNBoost2: the TFs' values, the random draws of a tree, and its nodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llm4grn.inference.boosting.compiled import compiled
from llm4grn.inference.boosting.lanes import LANES

DEPTH = 3
N_NODES = 2**DEPTH - 1
N_LEAVES = 2**DEPTH


class Columns(NamedTuple):
    """The values of each TF above its minimum, in descending order.

    Attributes
    ----------
    starts
        TF ``f`` has the entries ``starts[f]:starts[f + 1]``, shape (n_tfs + 1,), int64.
    cells, values
        Cell (int32) and value (float32) of each entry, shape (n_entries,).
    runs
        Number shared by the entries of the same TF and value, between which no threshold is possible, int32.
    owners
        TF of each entry, int32.
    floors
        Minimum of each TF, shape (n_tfs,), float32: the value of all cells without an entry.
    """

    starts: np.ndarray
    cells: np.ndarray
    values: np.ndarray
    runs: np.ndarray
    owners: np.ndarray
    floors: np.ndarray


class Draws(NamedTuple):
    """The random draws of one tree, shared by all targets.

    Attributes
    ----------
    in_bag
        1 for the cells the tree is grown on, uint8, shape (n_cells,).
    left_out
        The other cells, at the beginning of an array of shape (n_cells,), int32.
    orders
        TFs of each node in the order they are tried, int32, shape (N_NODES, n_tfs).
    starts, ends
        Range of a TF's in-bag entries in the arrays below, if any node tries the TF, int64, shape (n_tfs,).
    cells, runs, origins
        Cell, run, and position in :class:`Columns` of each in-bag entry, int32; a separate run marks the end.
    """

    in_bag: np.ndarray
    left_out: np.ndarray
    orders: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    cells: np.ndarray
    runs: np.ndarray
    origins: np.ndarray


class Split(NamedTuple):
    """The best split of one node, per lane; it removes the squared error node size x numerator / denominator.

    Attributes
    ----------
    numerator, denominator
        Squared sum of centred residuals on the right; cells on the right x cells on the left.
    entry
        Last entry on the right, as a position in :class:`Draws`; -1 if there is no split.
    n_right, total
        Number of cells on the right, and the sum of their centred residuals.
    tried
        Above 0 if any of the tried TFs varies in the node.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    entry: np.ndarray
    n_right: np.ndarray
    total: np.ndarray
    tried: np.ndarray


class Nodes(NamedTuple):
    """The nodes of the current level, by code; bit d of a code is set if the path goes right at level d.

    Attributes
    ----------
    sizes, sums
        Number of in-bag cells and sum of their residuals, shape (N_LEAVES, LANES), int64 and float64.
    size, mean
        Number of cells and mean residual of one node, float32, shape (LANES,); size 0 where it is not split.
    own
        Position of the target itself among the TFs tried at that node, int32, shape (LANES,); -1 if it is not tried.
    """

    sizes: np.ndarray
    sums: np.ndarray
    size: np.ndarray
    mean: np.ndarray
    own: np.ndarray


@compiled
def new_draws(n_cells: int, n_tfs: int, n_entries: int) -> Draws:
    """Allocate the draws of one tree; ``n_entries`` is the number of entries of :class:`Columns`."""
    return Draws(
        np.empty(n_cells, np.uint8),
        np.empty(n_cells, np.int32),
        np.empty((N_NODES, n_tfs), np.int32),
        np.empty(n_tfs, np.int64),
        np.empty(n_tfs, np.int64),
        np.empty(n_entries + 1, np.int32),
        np.empty(n_entries + 1, np.int32),
        np.empty(n_entries + 1, np.int32),
    )


@compiled
def new_split() -> Split:
    """Allocate the best split of one node."""
    return Split(
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.int32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
    )


@compiled
def new_nodes() -> Nodes:
    """Allocate the nodes of one tree."""
    return Nodes(
        np.empty((N_LEAVES, LANES), np.int64),
        np.empty((N_LEAVES, LANES)),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.int32),
    )
