"""Random draws of a tree of GRNBoost2: its cells, and the order in which its nodes try TFs (compiled)."""

from __future__ import annotations

import numpy as np

from llm4grn.inference.boosting.arrays import N_NODES, Columns, Draws
from llm4grn.inference.boosting.compiled import compiled

IN_BAG = 0.9


@compiled
def mix(key: np.uint64) -> np.uint64:
    """Hash a key with the output function of the SplitMix64 generator."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@compiled
def _uniform(key: np.uint64, i: int) -> np.float64:
    """Return the i-th number of the key's random stream, in [0, 1)."""
    return np.float64(mix(key + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)) * 2.0**-53


@compiled
def draw_bag(key: np.uint64, in_bag: np.ndarray, left_out: np.ndarray) -> int:
    """Draw 90 % of the cells without replacement; return the number of cells left out."""
    n_cells = len(in_bag)
    n_wanted = max(1, int(IN_BAG * n_cells))
    n_left_out = 0
    for cell in range(n_cells):
        inside = _uniform(key, cell) * (n_cells - cell) < n_wanted - (cell - n_left_out)
        in_bag[cell] = inside
        left_out[n_left_out] = cell
        n_left_out += not inside
    return n_left_out


@compiled
def draw_order(key: np.uint64, order: np.ndarray) -> None:
    """Fill ``order`` with a random permutation of the TFs for one node."""
    for i in range(len(order)):
        order[i] = i
    for i in range(len(order) - 1):
        j = i + int(_uniform(key, i) * (len(order) - i))
        order[i], order[j] = order[j], order[i]


@compiled
def draw_tree(key: np.uint64, columns: Columns, n_listed: int, draws: Draws) -> int:
    """Fill ``draws`` with entries of the first ``n_listed`` TFs of each node; return the number of cells left out."""
    n_left_out = draw_bag(key, draws.in_bag, draws.left_out)
    draws.starts[:] = -1
    at = 0
    for node in range(N_NODES):
        order = draws.orders[node]
        draw_order(mix(key ^ np.uint64(node + 1)), order)
        for f in order[:n_listed]:
            if draws.starts[f] >= 0:
                continue
            draws.starts[f] = at
            for entry in range(columns.starts[f], columns.starts[f + 1]):
                cell = columns.cells[entry]
                draws.cells[at] = cell
                draws.runs[at] = columns.runs[entry]
                draws.origins[at] = entry
                at += draws.in_bag[cell]
            draws.ends[f] = at
    draws.runs[at] = -1
    return n_left_out
