"""The trees of GRNBoost2 for a block of target genes at once, compiled: one target per lane.

The seed, not the target, decides which cells and TFs a tree looks at, so all targets walk the same TF values in the
same order. That walk is the cost of boosting, and here sixteen targets share it. It visits only values above the
smallest of their TF: the cells at the smallest value, mostly zeros, go left, with what the others leave.
Splits are exact, as scikit-learn's are; no values are binned.

One file for all of it: numba keeps compiled code until the file of the function changes, whatever it calls elsewhere.
"""

from __future__ import annotations

import numba
import numpy as np

from llm4grn.inference.boosting_arrays import DEPTH, N_LEAVES, N_NODES, Draws, Nodes, Split
from llm4grn.inference.boosting_lanes import LANES, load, select, splat, store, widen

LEARNING_RATE = 0.01
IN_BAG = 0.9
WINDOW = 25  # trees over which the out-of-bag improvement is averaged

# A smaller share of a target's variance than this is rounding: such a split is none.
_NOISE = 1e-11
# No fastmath: a result must not depend on how a processor's compiler orders a sum.
_COMPILE = {"nogil": True, "cache": True, "error_model": "numpy"}


# -- chance


@numba.njit(**_COMPILE)
def mix(key):
    """SplitMix64's output function: from any key an unrelated one."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@numba.njit(**_COMPILE)
def _uniform(key, i):
    """The i-th number of a stream, in [0, 1)."""
    return np.float64(mix(key + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)) * 2.0**-53


@numba.njit(**_COMPILE)
def draw_bag(key, in_bag, left_out):
    """Draw 90 % of the cells without replacement; returns how many are left out."""
    n_cells = len(in_bag)
    n_wanted = max(1, int(IN_BAG * n_cells))
    n_left_out = 0
    for cell in range(n_cells):
        inside = _uniform(key, cell) * (n_cells - cell) < n_wanted - (cell - n_left_out)
        in_bag[cell] = inside
        left_out[n_left_out] = cell
        n_left_out += not inside
    return n_left_out


@numba.njit(**_COMPILE)
def draw_order(key, order):
    """Shuffle the TFs for one node."""
    for i in range(len(order)):
        order[i] = i
    for i in range(len(order) - 1):
        j = i + int(_uniform(key, i) * (len(order) - i))
        order[i], order[j] = order[j], order[i]


@numba.njit(**_COMPILE)
def draw_tree(key, columns, n_listed, draws):
    """Fill ``draws``, with entries of the first ``n_listed`` TFs of each node; returns how many cells are left out."""
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


# -- the best split of a node


@numba.njit(**_COMPILE)
def _may_try(place, n_tries, nodes):
    """Which lanes may split by the TF at a place of the order: never by the target, for which one more TF is tried."""
    own = load(nodes.own, 0)
    if place < n_tries:
        return ~(own == splat(np.int32(place)))
    return own > splat(np.int32(-1))


@numba.njit(**_COMPILE)
def _search_root(tfs, n_tries, draws, residuals, nodes, weights, split):
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


@numba.njit(**_COMPILE)
def _search(tfs, n_tries, draws, residuals, leaves, code, nodes, split):
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


@numba.njit(**_COMPILE)
def _search_on(tfs, own, columns, draws, residuals, leaves, code, lane, nodes, split):
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


# -- cells to their leaves


@numba.njit(**_COMPILE)
def _end_of_right(columns, in_bag, leaves, code, lane, last):
    """Where the entries above the threshold end, left-out cells included.

    The threshold lies midway between the last value on the right and the next value that occurs in the node.
    """
    f = columns.owners[last]
    stop = columns.starts[f + 1]
    while not (in_bag[columns.cells[last]] and leaves[columns.cells[last] * LANES + lane] == code):
        last -= 1
    after = last + 1
    while after < stop and not (in_bag[columns.cells[after]] and leaves[columns.cells[after] * LANES + lane] == code):
        after += 1
    below = columns.values[after] if after < stop else columns.floors[f]
    threshold = np.float64(columns.values[last]) / 2 + np.float64(below) / 2
    end = last + 1
    while end < after and columns.values[end] > threshold:
        end += 1
    return end


@numba.njit(**_COMPILE)
def _send_right(columns, leaves, code, bit, ends):
    """Set ``bit`` in the code of the cells at a node above the threshold of their lane.

    ``ends`` is where each lane's entries on the right end, int32; 0 where the node is not split.
    """
    here, right = splat(np.uint8(code)), splat(np.uint8(code | bit))
    waiting = ends.copy()
    for lane in range(LANES):
        if waiting[lane] == 0:
            continue
        # All lanes that split by this TF, together.
        f = columns.owners[waiting[lane] - 1]
        furthest = 0
        same = np.zeros(LANES, np.int32)
        for other in range(lane, LANES):
            if waiting[other] > 0 and columns.owners[waiting[other] - 1] == f:
                same[other] = waiting[other]
                furthest = max(furthest, waiting[other])
                waiting[other] = 0
        limits = load(same, 0)
        for entry in range(columns.starts[f], furthest):
            cell = columns.cells[entry]
            old = load(leaves, cell)
            goes = (old == here) & (limits > splat(np.int32(entry)))
            store(leaves, cell, select(goes, right, old))


@numba.njit(**_COMPILE)
def _grow(columns, draws, n_tries, weights, residuals, leaves, nodes, split, targets, owns, importance):
    """Grow one tree in each lane: codes of all cells into ``leaves``, sizes and sums of the leaves into ``nodes``."""
    n_cells = len(draws.in_bag)
    ends = np.empty(LANES, np.int32)
    for level in range(DEPTH):
        for code in range(1 << level):
            order = draws.orders[(1 << level) - 1 + code]
            n_open, n_listed = 0, n_tries
            for lane in range(LANES):
                size = nodes.sizes[code, lane]
                nodes.size[lane] = size if size > 1 else 0
                nodes.mean[lane] = nodes.sums[code, lane] / size if size > 1 else 0
                nodes.own[lane] = -1
                n_open += size > 1
                if size > 1 and owns[targets[lane]] >= 0:
                    for place in range(n_tries):
                        if order[place] == owns[targets[lane]]:
                            nodes.own[lane] = place
                            n_listed = min(n_tries + 1, len(order))
            if n_open == 0:
                continue
            if level == 0:
                _search_root(order[:n_listed], n_tries, draws, residuals, nodes, weights, split)
            else:
                _search(order[:n_listed], n_tries, draws, residuals, leaves, code, nodes, split)
            ends[:] = 0
            for lane in range(LANES):
                size = nodes.sizes[code, lane]
                if size < 2:
                    continue
                if split.tried[lane] > 0:
                    last = draws.origins[split.entry[lane]] if split.entry[lane] >= 0 else -1
                else:
                    rest = order[n_tries + (nodes.own[lane] >= 0) :]
                    own = owns[targets[lane]]
                    last = _search_on(rest, own, columns, draws, residuals, leaves, code, lane, nodes, split)
                gain = np.float64(split.numerator[lane]) / np.float64(split.denominator[lane]) * size
                if last < 0 or gain <= _NOISE * n_cells:
                    continue
                ends[lane] = _end_of_right(columns, draws.in_bag, leaves, code, lane, last)
                importance[targets[lane], columns.owners[last]] += gain
                right, count = code | (1 << level), np.int64(split.count[lane])
                total = split.total[lane] + nodes.sums[code, lane] / size * count
                nodes.sizes[right, lane], nodes.sums[right, lane] = count, total
                nodes.sizes[code, lane] -= count
                nodes.sums[code, lane] -= total
            _send_right(columns, leaves, code, 1 << level, ends)


# -- boosting


@numba.njit(**_COMPILE)
def _descend(residuals, leaves, steps, sums):
    """Subtract from each residual the step of its leaf, put all cells back at the root, and sum up the residuals."""
    none = splat(np.uint8(0))
    s0, s1, s2, s3 = load(steps, 0), load(steps, 1), load(steps, 2), load(steps, 3)
    s4, s5, s6, s7 = load(steps, 4), load(steps, 5), load(steps, 6), load(steps, 7)
    total = splat(0.0)
    for cell in range(len(leaves) // LANES):
        code = load(leaves, cell)
        left0 = (code & splat(np.uint8(1))) == none
        left1 = (code & splat(np.uint8(2))) == none
        left2 = (code & splat(np.uint8(4))) == none
        low = select(left1, select(left0, s0, s1), select(left0, s2, s3))
        high = select(left1, select(left0, s4, s5), select(left0, s6, s7))
        residual = load(residuals, cell) - select(left2, low, high)
        store(residuals, cell, residual)
        store(leaves, cell, none)
        total = total + widen(residual)
    store(sums, 0, total)


@numba.njit(**_COMPILE)
def _sum_left_out(residuals, cells, sums, squares):
    """Sum and sum of squares of the residuals of ``cells``."""
    total, squared = splat(0.0), splat(0.0)
    for cell in cells:
        residual = widen(load(residuals, cell))
        total = total + residual
        squared = squared + residual * residual
    store(sums, 0, total)
    store(squares, 0, squared)


@numba.njit(**_COMPILE)
def boost(first, last, key, n_tries, columns, residuals, targets, owns, losses, n_trees, importance):
    """Grow trees ``first`` to ``last - 1`` of a few blocks of targets, until each meets its stopping rule.

    Parameters
    ----------
    first, last
        Trees are numbered from 0.
    key
        uint64 from the seed.
    n_tries
        TFs tried at each node.
    columns
        The TFs.
    residuals
        float32, flat, (n_blocks, n_cells, LANES), updated.
    targets
        Number of the target in each lane, int64, (n_blocks * LANES,); -1 for none. Set to -1 where a target stops.
    owns
        Which TF each target is, int32, shape (n_targets,); -1 if it is none.
    losses
        Out-of-bag losses of the last ``WINDOW`` trees of every target, float64, (n_targets, WINDOW), updated.
    n_trees, importance
        int64 (n_targets,) and float64 (n_targets, n_tfs), updated; importance is the squared error removed.
    """
    n_blocks = len(targets) // LANES
    n_cells = len(residuals) // len(targets)
    n_tfs = len(columns.floors)
    block = n_cells * LANES
    draws = Draws(
        np.empty(n_cells, np.uint8),
        np.empty(n_cells, np.int32),
        np.empty((N_NODES, n_tfs), np.int32),
        np.empty(n_tfs, np.int64),
        np.empty(n_tfs, np.int64),
        np.empty(len(columns.cells) + 1, np.int32),
        np.empty(len(columns.cells) + 1, np.int32),
        np.empty(len(columns.cells) + 1, np.int32),
    )
    single = np.float32
    split = Split(
        np.empty(LANES, single),
        np.empty(LANES, single),
        np.empty(LANES, np.int32),
        np.empty(LANES, single),
        np.empty(LANES, single),
        np.empty(LANES, single),
    )
    nodes = Nodes(
        np.empty((N_LEAVES, LANES), np.int64),
        np.empty((N_LEAVES, LANES)),
        np.empty(LANES, single),
        np.empty(LANES, single),
        np.empty(LANES, np.int32),
    )
    leaves = np.zeros(block, np.uint8)
    steps = np.zeros(N_LEAVES * LANES, single)
    sums, out_sums, out_squares = np.empty((n_blocks, LANES)), np.empty(LANES), np.empty(LANES)
    for b in range(n_blocks):
        _descend(residuals[b * block : (b + 1) * block], leaves, steps, sums[b])
    weights = np.zeros(n_cells + 1, single)
    n_in_bag = max(1, int(IN_BAG * n_cells))
    for n in range(1, n_in_bag):
        weights[n] = 1 / (np.float64(n) * (n_in_bag - n))
    n_listed = min(n_tries + 1, n_tfs) if owns.max() >= 0 else n_tries
    for tree in range(first, last):
        tree_key = mix(key ^ mix(np.uint64(tree)))
        left_out = draws.left_out[: draw_tree(tree_key, columns, n_listed, draws)]
        n_alive = 0
        for b in range(n_blocks):
            names = targets[b * LANES : (b + 1) * LANES]
            if names.max() < 0:
                continue
            here = residuals[b * block : (b + 1) * block]
            _sum_left_out(here, left_out, out_sums, out_squares)
            nodes.sizes[:] = 0
            nodes.sums[:] = 0
            for lane in range(LANES):
                if names[lane] >= 0:
                    nodes.sizes[0, lane] = n_in_bag
                    nodes.sums[0, lane] = sums[b, lane] - out_sums[lane]
                    if tree == 0:
                        losses[names[lane], WINDOW - 1] = out_squares[lane]
            _grow(columns, draws, n_tries, weights, here, leaves, nodes, split, names, owns, importance)
            for code in range(N_LEAVES):
                for lane in range(LANES):
                    size = nodes.sizes[code, lane]
                    step = LEARNING_RATE * nodes.sums[code, lane] / size if size > 0 else 0.0
                    steps[code * LANES + lane] = step
            _descend(here, leaves, steps, sums[b])
            _sum_left_out(here, left_out, out_sums, out_squares)
            for lane in range(LANES):
                target = names[lane]
                if target < 0:
                    continue
                n_trees[target] = tree + 1
                # The improvements of a window add up to the loss before it minus the loss after it.
                stops = tree >= WINDOW - 1 and out_squares[lane] > losses[target, tree % WINDOW]
                losses[target, tree % WINDOW] = out_squares[lane]
                names[lane] = -1 if stops else target
                n_alive += not stops
        if n_alive == 0:
            break
