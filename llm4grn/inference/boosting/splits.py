"""The best split of a node of GRNBoost2's trees, in sixteen lanes at once; compiled."""

from __future__ import annotations

import numpy as np

from llm4grn.inference.boosting.compiled import compiled
from llm4grn.inference.boosting.lanes import LANES, load, select, splat, store


@compiled
def _may_try(place, n_tries, nodes):
    """Which lanes may split by the TF at a place of the order: never by the target, for which one more TF is tried."""
    own = load(nodes.own, 0)
    if place < n_tries:
        return ~(own == splat(np.int32(place)))
    return own > splat(np.int32(-1))


@compiled
def search_root(tfs, n_tries, draws, residuals, nodes, weights, split):
    """The best split of all in-bag cells; ``weights[n]`` is 1 / (n on the right x the rest), 0 where that is empty."""
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
    store(split.count, 0, best_count)
    store(split.total, 0, best_total)
    store(split.tried, 0, tried)


@compiled
def search(tfs, n_tries, draws, residuals, leaves, code, nodes, split):
    """The best split of the in-bag cells at one node, which are others in each lane."""
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    here, size, mean = splat(np.uint8(code)), load(nodes.size, 0), load(nodes.mean, 0)
    # Gains are compared as fractions, crosswise: a division would cost more than all else.
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
    store(split.count, 0, best_count)
    store(split.total, 0, best_total)
    store(split.tried, 0, tried)


@compiled
def search_on(tfs, own, columns, draws, residuals, leaves, code, lane, nodes, split):
    """One lane, none of whose tried TFs varies in the node: the best split by the next TF that does.

    Returns the last entry on the right, in :class:`Columns`, or -1.
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
                split.count[lane], split.total[lane] = count, total
        if varies:
            split.numerator[lane], split.denominator[lane] = best, best_below
            return best_entry
    return -1
