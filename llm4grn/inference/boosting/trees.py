"""The trees of GRNBoost2 for a block of target genes at once, with one target per lane (compiled).

The seed, not the target, determines the cells and TFs that a tree uses, so all targets visit the same TF values in the
same order. These visits dominate the cost of boosting, and sixteen targets share them. Only values above the minimum of
their TF are visited: the cells at the minimum, mostly zeros, go left, and their sums follow by subtraction. Splits are
exact, as in scikit-learn; values are not binned.
"""

from __future__ import annotations

import numpy as np

from llm4grn.inference.boosting.arrays import (
    DEPTH,
    N_LEAVES,
    Columns,
    Draws,
    Nodes,
    Split,
    new_draws,
    new_nodes,
    new_split,
)
from llm4grn.inference.boosting.compiled import compiled
from llm4grn.inference.boosting.draws import IN_BAG, draw_tree, mix
from llm4grn.inference.boosting.lanes import LANES, load, select, splat, store, widen
from llm4grn.inference.boosting.splits import search, search_on, search_root

LEARNING_RATE = 0.01
WINDOW = 25  # trees over which the out-of-bag improvement is averaged

# Splits that explain a smaller share of a target's variance are discarded as rounding errors.
_NOISE = 1e-11


@compiled
def _end_of_right(columns: Columns, in_bag: np.ndarray, leaves: np.ndarray, code: int, lane: int, last: int) -> int:
    """Return the end of the entries above the threshold, including left-out cells.

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


@compiled
def _send_right(columns: Columns, leaves: np.ndarray, code: int, bit: int, ends: np.ndarray) -> None:
    """Set ``bit`` in the code of the node's cells above the threshold of their lane.

    ``ends`` holds the end of each lane's entries on the right, int32; 0 where the node is not split.
    """
    here, right = splat(np.uint8(code)), splat(np.uint8(code | bit))
    waiting = ends.copy()
    for lane in range(LANES):
        if waiting[lane] == 0:
            continue
        # All lanes that split by this TF share one pass over its entries.
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
            moves = (old == here) & (limits > splat(np.int32(entry)))
            store(leaves, cell, select(moves, right, old))


@compiled
def _grow(
    columns: Columns,
    draws: Draws,
    n_tries: int,
    weights: np.ndarray,
    residuals: np.ndarray,
    leaves: np.ndarray,
    nodes: Nodes,
    split: Split,
    targets: np.ndarray,
    owns: np.ndarray,
    importance: np.ndarray,
) -> None:
    """Grow one tree in each lane; write the cells' codes to ``leaves``, sizes and sums of the leaves to ``nodes``."""
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
                search_root(order[:n_listed], n_tries, draws, residuals, nodes, weights, split)
            else:
                search(order[:n_listed], n_tries, draws, residuals, leaves, code, nodes, split)
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
                    last = search_on(rest, own, columns, draws, residuals, leaves, code, lane, nodes, split)
                gain = np.float64(split.numerator[lane]) / np.float64(split.denominator[lane]) * size
                if last < 0 or gain <= _NOISE * n_cells:
                    continue
                ends[lane] = _end_of_right(columns, draws.in_bag, leaves, code, lane, last)
                importance[targets[lane], columns.owners[last]] += gain
                right, count = code | (1 << level), np.int64(split.n_right[lane])
                total = split.total[lane] + nodes.sums[code, lane] / size * count
                nodes.sizes[right, lane], nodes.sums[right, lane] = count, total
                nodes.sizes[code, lane] -= count
                nodes.sums[code, lane] -= total
            _send_right(columns, leaves, code, 1 << level, ends)


@compiled
def _descend(residuals: np.ndarray, leaves: np.ndarray, steps: np.ndarray, sums: np.ndarray) -> None:
    """Subtract from each residual the step of its leaf, return all cells to the root, and sum the residuals."""
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


@compiled
def _sum_left_out(residuals: np.ndarray, cells: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> None:
    """Compute the sum and the sum of squares of the residuals of ``cells``."""
    total, squared = splat(0.0), splat(0.0)
    for cell in cells:
        residual = widen(load(residuals, cell))
        total = total + residual
        squared = squared + residual * residual
    store(sums, 0, total)
    store(squares, 0, squared)


@compiled
def _set_root(names: np.ndarray, n_in_bag: int, sums: np.ndarray, out_sums: np.ndarray, nodes: Nodes) -> None:
    """Put all in-bag cells at the root, and none in lanes without a target."""
    nodes.sizes[:] = 0
    nodes.sums[:] = 0
    for lane in range(LANES):
        if names[lane] >= 0:
            nodes.sizes[0, lane] = n_in_bag
            nodes.sums[0, lane] = sums[lane] - out_sums[lane]


@compiled
def _set_steps(nodes: Nodes, steps: np.ndarray) -> None:
    """Set each leaf's step to the learning rate times its mean residual."""
    for code in range(N_LEAVES):
        for lane in range(LANES):
            size = nodes.sizes[code, lane]
            steps[code * LANES + lane] = LEARNING_RATE * nodes.sums[code, lane] / size if size > 0 else 0.0


@compiled
def _keep_losses(names: np.ndarray, place: int, out_squares: np.ndarray, losses: np.ndarray) -> None:
    """Store each target's out-of-bag loss at position ``place`` of its window."""
    for lane in range(LANES):
        if names[lane] >= 0:
            losses[names[lane], place] = out_squares[lane]


@compiled
def _go_on(tree: int, names: np.ndarray, out_squares: np.ndarray, losses: np.ndarray, n_trees: np.ndarray) -> int:
    """Set targets that meet the stopping rule after this tree to -1 in ``names``; return the number of the others."""
    n_alive = 0
    for lane in range(LANES):
        target = names[lane]
        if target < 0:
            continue
        n_trees[target] = tree + 1
        # The improvements within a window sum to the loss before it minus the loss after it.
        stops = tree >= WINDOW - 1 and out_squares[lane] > losses[target, tree % WINDOW]
        losses[target, tree % WINDOW] = out_squares[lane]
        names[lane] = -1 if stops else target
        n_alive += not stops
    return n_alive


@compiled
def boost(
    first: int,
    last: int,
    key: np.uint64,
    n_tries: int,
    columns: Columns,
    residuals: np.ndarray,
    targets: np.ndarray,
    owns: np.ndarray,
    losses: np.ndarray,
    n_trees: np.ndarray,
    importance: np.ndarray,
) -> None:
    """Grow trees ``first`` to ``last - 1`` for a few blocks of targets, until each target meets its stopping rule.

    Parameters
    ----------
    first, last
        Range of the trees, numbered from 0.
    key
        Random key derived from the seed.
    n_tries
        Number of TFs tried at each node.
    columns
        Values of the TFs.
    residuals
        Residuals, float32, of shape (n_blocks, n_cells, LANES) but flat; updated.
    targets
        Target in each lane, int64, shape (n_blocks * LANES,); -1 if there is none. Set to -1 where a target stops.
    owns
        TF that each target itself is, int32, shape (n_targets,); -1 if it is not a TF.
    losses
        Out-of-bag losses of each target's last ``WINDOW`` trees, float64, shape (n_targets, WINDOW); updated.
    n_trees
        Number of trees of each target, int64, shape (n_targets,); updated.
    importance
        Squared error removed by each TF, float64, shape (n_targets, n_tfs); updated.
    """
    n_blocks, n_cells, n_tfs = len(targets) // LANES, len(residuals) // len(targets), len(columns.floors)
    block = n_cells * LANES
    draws, split, nodes = new_draws(n_cells, n_tfs, len(columns.cells)), new_split(), new_nodes()
    leaves, steps = np.zeros(block, np.uint8), np.zeros(N_LEAVES * LANES, np.float32)
    sums, out_sums, out_squares = np.empty((n_blocks, LANES)), np.empty(LANES), np.empty(LANES)
    for b in range(n_blocks):
        _descend(residuals[b * block : (b + 1) * block], leaves, steps, sums[b])
    n_in_bag = max(1, int(IN_BAG * n_cells))
    weights = np.zeros(n_cells + 1, np.float32)
    for n in range(1, n_in_bag):
        weights[n] = 1 / (np.float64(n) * (n_in_bag - n))
    n_listed = min(n_tries + 1, n_tfs) if owns.max() >= 0 else n_tries
    for tree in range(first, last):
        left_out = draws.left_out[: draw_tree(mix(key ^ mix(np.uint64(tree))), columns, n_listed, draws)]
        n_alive = 0
        for b in range(n_blocks):
            names = targets[b * LANES : (b + 1) * LANES]
            if names.max() < 0:
                continue
            here = residuals[b * block : (b + 1) * block]
            _sum_left_out(here, left_out, out_sums, out_squares)
            if tree == 0:
                _keep_losses(names, WINDOW - 1, out_squares, losses)
            _set_root(names, n_in_bag, sums[b], out_sums, nodes)
            _grow(columns, draws, n_tries, weights, here, leaves, nodes, split, names, owns, importance)
            _set_steps(nodes, steps)
            _descend(here, leaves, steps, sums[b])
            _sum_left_out(here, left_out, out_sums, out_squares)
            n_alive += _go_on(tree, names, out_squares, losses, n_trees)
        if n_alive == 0:
            break
