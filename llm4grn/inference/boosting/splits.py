"""Search for the best split of a node of GRNBoost2's trees, in sixteen lanes at once (compiled)."""

from __future__ import annotations

import numpy as np

from llm4grn.inference.boosting.arrays import Columns, Draws, Nodes, Split
from llm4grn.inference.boosting.compiled import compiled
from llm4grn.inference.boosting.lanes import LANES, Vector, load, select, splat, store


@compiled
def _may_try(place: int, n_tries: int, nodes: Nodes) -> Vector:
    """Return the mask of the lanes that may split by the TF at a position of the order.

    A target is never split by itself; a lane whose target is among the tried TFs tries one more TF instead.
    """
    own = load(nodes.own, 0)
    if place < n_tries:
        return ~(own == splat(np.int32(place)))
    return own > splat(np.int32(-1))


@compiled
def search_root(
    tfs: np.ndarray,
    n_tries: int,
    draws: Draws,
    residuals: np.ndarray,
    nodes: Nodes,
    weights: np.ndarray,
    split: Split,
) -> None:
    """Find the best split of all in-bag cells and write it to ``split``.

    ``weights[n]`` is 1 / (n x number of remaining cells) for n cells on the right, and 0 if either side is empty.
    """
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    mean = load(nodes.mean, 0)
    best, best_entry, best_count, best_total = zero, splat(np.int32(-1)), zero, zero
    tried = zero
    for place, f in enumerate(tfs):
        allowed = _may_try(place, n_tries, nodes)
        total = zero
        start = draws.starts[f]
        for entry in range(start, draws.ends[f]):
            total = total + (load(residuals, draws.cells[entry]) - mean)
            if draws.runs[entry] != draws.runs[entry + 1]:
                count = entry + 1 - start
                weight = splat(weights[count])
                gain = total * total * weight
                better = allowed & (gain > best)
                best = select(better, gain, best)
                best_entry = select(better, splat(np.int32(entry)), best_entry)
                best_count = select(better, splat(np.float32(count)), best_count)
                best_total = select(better, total, best_total)
                tried = select(allowed & (weight > zero), one, tried)
    store(split.numerator, 0, best)
    store(split.denominator, 0, one)
    store(split.entry, 0, best_entry)
    store(split.n_right, 0, best_count)
    store(split.total, 0, best_total)
    store(split.tried, 0, tried)


@compiled
def search(
    tfs: np.ndarray,
    n_tries: int,
    draws: Draws,
    residuals: np.ndarray,
    leaves: np.ndarray,
    code: int,
    nodes: Nodes,
    split: Split,
) -> None:
    """Find the best split of the in-bag cells at one node, which differ between lanes, and write it to ``split``."""
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    here, size, mean = splat(np.uint8(code)), load(nodes.size, 0), load(nodes.mean, 0)
    # Gains are fractions, compared by cross-multiplication: a division would cost more than all other operations.
    best, best_below, best_entry, best_count, best_total = zero, one, splat(np.int32(-1)), zero, zero
    tried = zero
    for place, f in enumerate(tfs):
        allowed = _may_try(place, n_tries, nodes)
        total, count = zero, zero
        for entry in range(draws.starts[f], draws.ends[f]):
            cell = draws.cells[entry]
            member = load(leaves, cell) == here
            total = total + select(member, load(residuals, cell) - mean, zero)
            count = count + select(member, one, zero)
            if draws.runs[entry] != draws.runs[entry + 1]:
                squared = total * total
                below = count * (size - count)
                splits = allowed & (below > zero)
                better = splits & (squared * best_below > best * below)
                best = select(better, squared, best)
                best_below = select(better, below, best_below)
                best_entry = select(better, splat(np.int32(entry)), best_entry)
                best_count = select(better, count, best_count)
                best_total = select(better, total, best_total)
                tried = select(splits, one, tried)
    store(split.numerator, 0, best)
    store(split.denominator, 0, best_below)
    store(split.entry, 0, best_entry)
    store(split.n_right, 0, best_count)
    store(split.total, 0, best_total)
    store(split.tried, 0, tried)


@compiled
def search_on(
    tfs: np.ndarray,
    own: int,
    columns: Columns,
    draws: Draws,
    residuals: np.ndarray,
    leaves: np.ndarray,
    code: int,
    lane: int,
    nodes: Nodes,
    split: Split,
) -> int:
    """Find the best split by the first TF that varies in the node, for a lane whose tried TFs are all constant there.

    Returns
    -------
    int
        Last entry on the right, as a position in :class:`Columns`; -1 if there is no split.
    """
    for f in tfs:
        if f == own:
            continue
        total, count = np.float32(0), np.float32(0)
        best, best_below, best_entry = np.float32(0), np.float32(1), -1
        varies = False
        for entry in range(columns.starts[f], columns.starts[f + 1]):
            cell = columns.cells[entry]
            if draws.in_bag[cell] and leaves[cell * LANES + lane] == code:
                total += residuals[cell * LANES + lane] - nodes.mean[lane]
                count += np.float32(1)
            if entry + 1 < columns.starts[f + 1] and columns.runs[entry] == columns.runs[entry + 1]:
                continue
            below = count * (nodes.size[lane] - count)
            varies |= below > 0
            if below > 0 and total * total * best_below > best * below:
                best, best_below, best_entry = total * total, below, entry
                split.n_right[lane], split.total[lane] = count, total
        if varies:
            split.numerator[lane], split.denominator[lane] = best, best_below
            return best_entry
    return -1
