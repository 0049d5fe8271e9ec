"""What the compiled trees of GRNBoost2 work on: the TFs' values, the draws of a tree, and its nodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llm4grn.inference.boosting.compiled import compiled
from llm4grn.inference.boosting.lanes import LANES

DEPTH = 3
N_NODES = 2**DEPTH - 1
N_LEAVES = 2**DEPTH


class Columns(NamedTuple):
    """The TFs' values above each TF's smallest one, largest first.

    Attributes
    ----------
    starts
        Entries of TF ``f`` are ``starts[f]:starts[f + 1]``, shape (n_tfs + 1,), int64.
    cells, values
        Cell (int32) and value (float32) of each entry.
    runs
        Entries of the same TF and value share a number, int32: no threshold fits between them.
    owners
        TF of each entry, int32.
    floors
        Smallest value of each TF, float32: that of all cells without an entry.
    """

    starts: np.ndarray
    cells: np.ndarray
    values: np.ndarray
    runs: np.ndarray
    owners: np.ndarray
    floors: np.ndarray


class Draws(NamedTuple):
    """What chance decides about one tree, for all targets.

    Attributes
    ----------
    in_bag
        1 for the cells the tree is grown on, uint8, shape (n_cells,).
    left_out
        The other cells, int32, from the start.
    orders
        For each node the TFs in the order they are tried, int32, shape (N_NODES, n_tfs).
    starts, ends
        Where the in-bag entries of a TF that some node tries are in the arrays below, int64, shape (n_tfs,).
    cells, runs, origins
        Cell, run, and place in :class:`Columns` of each in-bag entry, int32; after the last comes a run of its own.
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
    """The best split of one node, per lane; the squared error it removes is node size x numerator / denominator.

    Attributes
    ----------
    numerator, denominator
        Squared sum of centred residuals on the right; cells on the right x cells on the left.
    entry
        Last entry on the right, in :class:`Draws`; -1 if none splits.
    count, total
        Cells on the right, and the sum of their centred residuals.
    tried
        Above 0 if some tried TF varies in the node.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    entry: np.ndarray
    count: np.ndarray
    total: np.ndarray
    tried: np.ndarray


class Nodes(NamedTuple):
    """The nodes of the level in work, by code; bit d of a code is set where the path goes right at level d.

    Attributes
    ----------
    sizes, sums
        In-bag cells and the sum of their residuals, shape (N_LEAVES, LANES), int64 and float64.
    size, mean
        The same of one node as float32 vectors, shape (LANES,); size 0 where it is not to be split.
    own
        Place of the target itself among the TFs tried at that node, int32, shape (LANES,); -1 if it is none of them.
    """

    sizes: np.ndarray
    sums: np.ndarray
    size: np.ndarray
    mean: np.ndarray
    own: np.ndarray


@compiled
def new_draws(n_cells, n_tfs, n_entries):
    """Room for the draws of one tree; ``n_entries`` are those of :class:`Columns`."""
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
def new_split():
    """Room for the best split of one node."""
    return Split(
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.int32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
    )


@compiled
def new_nodes():
    """Room for the nodes of one tree."""
    return Nodes(
        np.empty((N_LEAVES, LANES), np.int64),
        np.empty((N_LEAVES, LANES)),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.int32),
    )
