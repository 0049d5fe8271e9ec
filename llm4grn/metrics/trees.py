"""A random forest of two classes, with the trees of scikit-learn in a fraction of its time (compiled).

Every tree is the one that ``sklearn.ensemble.RandomForestClassifier`` grows from the same seed: exact splits by Gini's
criterion, grown until leaves are pure, the square root of the number of features tried at each node. The time is saved
by sorting: a value is replaced by its rank among all cells, and ranks are sorted digit by digit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

from llm4grn.runtime import threads

Function = TypeVar("Function", bound=Callable[..., Any])

# The values of a feature that scikit-learn holds to be equal differ by no more than this.
_SAME = np.float32(1e-7)
# A key is a rank, above one bit for the class and seven for the number of times that the bootstrap drew the cell.
_CLASS, _TAG_BITS, _DIGIT_BITS = 7, 8, 8
_MOST_DRAWS = (1 << _CLASS) - 1
# Nodes of at most so many cells are sorted by comparing each key with each, in multiples of a vector's length.
_FEW, _PAD = 64, 16


class _Tree(NamedTuple):
    """A tree in depth-first order: the left child of a node follows it."""

    feature: np.ndarray  # int32, shape (n_nodes,); -1 at a leaf
    threshold: np.ndarray  # float64, shape (n_nodes,); greater values go right
    right: np.ndarray  # int32, shape (n_nodes,); the right child
    share: np.ndarray  # float64, shape (n_nodes,); share of class 1


def forest_votes(
    cells: np.ndarray, labels: np.ndarray, others: np.ndarray, n_trees: int, seed: int, n_threads: int | None = None
) -> np.ndarray:
    """Train a random forest and return the mean share of class 1 in the leaves that each of ``others`` falls into.

    Parameters
    ----------
    cells
        Training cells, shape (n_cells, n_features); computed with in float32, as in scikit-learn.
    labels
        Their classes, 0 or 1, shape (n_cells,).
    others
        Cells to classify, shape (n_others, n_features).
    n_trees
        Number of trees.
    seed
        Seed for bootstrap and features.
    n_threads
        Number of trees grown at once, which does not change the result; None: as many as torch uses.

    Returns
    -------
    Shape (n_others,), what ``RandomForestClassifier(n_trees, random_state=seed)`` predicts as probability of class 1:
    to the last bit, unless two values of a feature differ by less than 1e-7.
    """
    cells, others = (np.ascontiguousarray(x, dtype=np.float32) for x in (cells, others))
    ranks, values = _ranks(np.ascontiguousarray(cells.T))
    keys = ranks << _TAG_BITS | labels.astype(np.uint32) << _CLASS
    inverses = 1.0 / np.arange(1, len(cells) + 1)
    seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=n_trees)

    def votes(tree_seed: int) -> np.ndarray:
        drawn = np.random.RandomState(tree_seed).randint(0, len(cells), len(cells))
        times = np.minimum(np.bincount(drawn, minlength=len(cells)), _MOST_DRAWS).astype(np.uint32)
        state = np.random.RandomState(tree_seed).randint(0, np.iinfo(np.int32).max)
        return _classify(_grow(keys, values, times, inverses, np.uint32(state)), others)

    total = np.zeros(len(others))
    with ThreadPoolExecutor(n_threads or threads.n_threads()) as pool:
        for vote in pool.map(votes, seeds):  # in the order of the trees, whichever thread is first
            total += vote
    return total / n_trees


def _ranks(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks of values within each row, uint32, and the value of each rank; equal values share a rank.

    Both have the shape (n_features, n_cells) of ``columns``.
    """
    order = np.argsort(columns, axis=1, kind="stable")
    ordered = np.take_along_axis(columns, order, axis=1)
    steps = np.zeros(columns.shape, np.uint32)
    np.cumsum(ordered[:, 1:] > ordered[:, :-1] + _SAME, axis=1, out=steps[:, 1:])
    ranks, values = np.empty_like(steps), np.empty_like(columns)
    np.put_along_axis(ranks, order, steps, axis=1)
    np.put_along_axis(values, steps.astype(np.intp), ordered, axis=1)
    return ranks, values


def _compiled(function: Function) -> Function:
    # No fastmath: the trees must not depend on the order in which a processor's compiler sums.
    return cast(Function, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


@_compiled
def _draw(low: int, high: int, state: np.ndarray) -> Any:
    """Return a random integer from ``low`` to ``high - 1``, by scikit-learn's generator (xorshift of 32 bits)."""
    x = state[0] if state[0] != 0 else np.uint32(1)
    x = np.uint32(x ^ np.uint32(x << np.uint32(13)))
    x = np.uint32(x ^ np.uint32(x >> np.uint32(17)))
    x = np.uint32(x ^ np.uint32(x << np.uint32(5)))
    state[0] = x
    return low + np.int64(x & np.uint32(0x7FFFFFFF)) % (high - low)


@_compiled
def _gather(keys: np.ndarray, members: np.ndarray, gathered: np.ndarray, counts: np.ndarray) -> None:
    """Copy the keys of the members, and count each digit of their ranks for :func:`_sort`."""
    counts[:] = 0
    for j, cell in enumerate(members):
        key = keys[cell]
        gathered[j] = key
        for digit in range(len(counts)):
            counts[digit, (key >> np.uint32(_TAG_BITS + _DIGIT_BITS * digit)) & np.uint32(255)] += np.int32(1)


@_compiled
def _sort(keys: np.ndarray, spare: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return keys sorted by rank, in their own place or in ``spare``, by the counts of :func:`_gather`."""
    for digit in range(len(counts)):
        shift = np.uint32(_TAG_BITS + _DIGIT_BITS * digit)
        total = np.int32(0)
        for value in range(256):
            total, counts[digit, value] = total + counts[digit, value], total
        for key in keys:
            value = (key >> shift) & np.uint32(255)
            spare[counts[digit, value]] = key
            counts[digit, value] += np.int32(1)
        keys, spare = spare, keys
    return keys


@_compiled
def _sort_few(keys: np.ndarray, members: np.ndarray, gathered: np.ndarray) -> np.ndarray:
    """Return the keys of the members, sorted by counting how many are smaller: n x n steps, but many at once."""
    n = len(members)
    padded = (n + _PAD - 1) // _PAD * _PAD
    for j in range(n):
        gathered[j] = keys[members[j]]
    gathered[n:padded] = np.uint32(0xFFFFFFFF)
    ordered = gathered[padded : padded + n]
    ordered[:] = 0
    for i in range(n):
        key, place = gathered[i], np.uint32(0)
        for j in range(padded):
            place = np.uint32(place + np.uint32(gathered[j] < key))
        while ordered[place] != 0:  # taken by an equal key
            place = np.uint32(place + np.uint32(1))
        ordered[place] = key
    return ordered


@_compiled
def _scan(keys: np.ndarray, zeros: float, ones: float, best: float, inverses: np.ndarray) -> tuple[float, Any, Any]:
    """Return the criterion of the best split of sorted keys, and the ranks on either side of it.

    ``zeros`` and ``ones`` are the numbers of cells of each class, with repetitions, and ``inverses[n - 1]`` is 1 / n.
    If no split is better than ``best``, that is returned.
    """
    left, right, n_l = np.int64(-1), np.int64(-1), np.int64(0)
    n = zeros + ones
    l0, l1 = 0.0, 0.0
    n_all = np.int64(n)
    margin = n * (1.0 - 1e-11)
    for p in range(len(keys) - 1):
        key, after = keys[p], keys[p + 1]
        times = np.int64(key & np.uint32(_MOST_DRAWS))
        weight = np.float64(times)
        n_l += times
        is_one = np.float64(np.int64((key >> np.uint32(_CLASS)) & np.uint32(1)))
        l1 += weight * is_one
        l0 += weight - weight * is_one
        r0, r1 = zeros - l0, ones - l1
        rough = (l0 * l0 + l1 * l1) * inverses[n_l - 1] + (r0 * r0 + r1 * r1) * inverses[n_all - n_l - 1]
        if rough - margin > best and key >> np.uint32(_TAG_BITS) != after >> np.uint32(_TAG_BITS):
            # The order of the operations is scikit-learn's: rounding decides between splits that are equally good.
            n_left, n_right = l0 + l1, r0 + r1
            gain = -n_right * (1.0 - (r0 * r0 + r1 * r1) / (n_right * n_right)) - n_left * (
                1.0 - (l0 * l0 + l1 * l1) / (n_left * n_left)
            )
            if gain > best:
                best, left, right = gain, np.int64(key >> np.uint32(_TAG_BITS)), np.int64(after >> np.uint32(_TAG_BITS))
    return best, left, right


@_compiled
def _split(
    keys: np.ndarray,
    members: np.ndarray,
    zeros: float,
    ones: float,
    features: np.ndarray,
    constants: np.ndarray,
    n_known: int,
    state: np.ndarray,
    work: tuple[np.ndarray, np.ndarray, np.ndarray],
    inverses: np.ndarray,
) -> tuple[int, int, int, int]:
    """Find the best split of a node, as ``node_split_best`` of scikit-learn does.

    Returns
    -------
    Feature (-1: no split), the ranks on either side of the split, and the number of features known to be constant.
    """
    n, n_features = len(members), len(features)
    gathered, spare, counts = work[0][:n], work[1][:n], work[2]
    n_tries = max(1, int(np.sqrt(n_features)))
    best, chosen, left, right = -np.inf, -1, -1, -1
    undrawn, n_visited, n_found, n_drawn_constants = n_features, 0, 0, 0
    while undrawn > n_known + n_found and (n_visited < n_tries or n_visited <= n_found + n_drawn_constants):
        n_visited += 1
        place = _draw(n_drawn_constants, undrawn - n_found, state)
        if place < n_known:
            features[n_drawn_constants], features[place] = features[place], features[n_drawn_constants]
            n_drawn_constants += 1
            continue
        place += n_found
        f = features[place]
        if n <= _FEW:
            own = _sort_few(keys[f], members, work[0])
        else:
            _gather(keys[f], members, gathered, counts)
            own = _sort(gathered, spare, counts)
        if own[0] >> np.uint32(_TAG_BITS) == own[-1] >> np.uint32(_TAG_BITS):
            features[place], features[n_known + n_found] = features[n_known + n_found], features[place]
            n_found += 1
            continue
        undrawn -= 1
        features[undrawn], features[place] = features[place], features[undrawn]
        gain, low, high = _scan(own, zeros, ones, best, inverses)
        if gain > best:
            best, chosen, left, right = gain, f, low, high
    features[:n_known] = constants[:n_known]
    constants[n_known : n_known + n_found] = features[n_known : n_known + n_found]
    return chosen, left, right, n_known + n_found


@_compiled
def _impurity(zeros: float, ones: float) -> float:
    """Return Gini's impurity."""
    n = zeros + ones
    return 1.0 - (zeros * zeros + ones * ones) / (n * n)


@_compiled
def _partition(keys: np.ndarray, members: np.ndarray, left: int, spare: np.ndarray) -> int:
    """Move the cells of rank ``left`` or below to the front, all in their order, and return their number."""
    n_left, n_right = 0, 0
    for cell in members:
        goes_left: Any = np.int64(keys[cell] >> np.uint32(_TAG_BITS)) <= left
        # Both are written and one is kept: a branch would be mispredicted.
        members[n_left] = cell
        spare[n_right] = cell
        n_left += goes_left
        n_right += not goes_left
    members[n_left:] = spare[:n_right]
    return n_left


@_compiled
def _count(keys: np.ndarray, members: np.ndarray) -> tuple[float, float]:
    """Return the number of cells of each class, with repetitions; ``keys`` are those of any feature."""
    n, ones = np.int64(0), np.int64(0)
    for cell in members:
        times = np.int64(keys[cell] & np.uint32(_MOST_DRAWS))
        n += times
        ones += times * np.int64((keys[cell] >> np.uint32(_CLASS)) & np.uint32(1))
    return np.float64(n - ones), np.float64(ones)


@_compiled
def _grow(keys: np.ndarray, values: np.ndarray, times: np.ndarray, inverses: np.ndarray, seed: np.uint32) -> _Tree:
    """Grow a tree on cells that the bootstrap drew ``times``, depth first, until leaves are pure."""
    n_features, n_cells = keys.shape
    drawn = np.nonzero(times)[0]
    n_drawn = len(drawn)
    bag = np.empty((n_features, n_drawn), np.uint32)
    for f in range(n_features):
        for j, cell in enumerate(drawn):
            bag[f, j] = keys[f, cell] | times[cell]
    members = np.arange(n_drawn).astype(np.int32)
    most = 2 * n_drawn
    tree = _Tree(np.full(most, -1, np.int32), np.zeros(most), np.zeros(most, np.int32), np.zeros(most))
    features, constants = np.arange(n_features), np.zeros(n_features, np.int64)
    state = np.full(1, seed, np.uint32)
    n_digits = 1
    while n_cells >> (_DIGIT_BITS * n_digits):
        n_digits += 1
    room = max(n_drawn, 2 * (_FEW + _PAD))
    work = np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty((n_digits, 256), np.int32)
    spare = np.empty(n_drawn + 1, np.int32)
    stack = np.empty((n_drawn + 1, 4), np.int64)  # first and last cell, known constants, parent of a right child
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, n_drawn, 0, -1
    n_open, node, n_all = 1, 0, np.float64(n_cells)
    while n_open:
        n_open -= 1
        start, end, n_known, parent = stack[n_open, 0], stack[n_open, 1], stack[n_open, 2], stack[n_open, 3]
        if parent >= 0:
            tree.right[parent] = node
        own = members[start:end]
        zeros, ones = _count(bag[0], own)
        tree.share[node] = ones / (zeros + ones)
        f, middle, left, right = -1, start, -1, -1
        if zeros > 0 and ones > 0:
            f, left, right, n_known = _split(bag, own, zeros, ones, features, constants, n_known, state, work, inverses)
        if f >= 0:
            middle = start + _partition(bag[f], own, left, spare)
            l0, l1 = _count(bag[0], members[start:middle])
            n, n_left, n_right = zeros + ones, l0 + l1, zeros + ones - l0 - l1
            # scikit-learn gives up splits that, by rounding, seem to make matters worse.
            gain = (
                n
                / n_all
                * (
                    _impurity(zeros, ones)
                    - n_right / n * _impurity(zeros - l0, ones - l1)
                    - n_left / n * _impurity(l0, l1)
                )
            )
            if gain + 2.0**-52 >= 0.0:
                tree.feature[node] = f
                tree.threshold[node] = np.float64(values[f, left]) / 2.0 + np.float64(values[f, right]) / 2.0
                stack[n_open, 0], stack[n_open, 1], stack[n_open, 2], stack[n_open, 3] = middle, end, n_known, node
                n_open += 1
                stack[n_open, 0], stack[n_open, 1], stack[n_open, 2], stack[n_open, 3] = start, middle, n_known, -1
                n_open += 1
        node += 1
    return tree


@_compiled
def _classify(tree: _Tree, cells: np.ndarray) -> np.ndarray:
    """Return the share of class 1 in the leaf of each cell, shape (n_cells,)."""
    shares = np.empty(len(cells))
    for i in range(len(cells)):
        node = 0
        while tree.feature[node] >= 0:
            goes_left = np.float64(cells[i, tree.feature[node]]) <= tree.threshold[node]
            node = node + 1 if goes_left else tree.right[node]
        shares[i] = tree.share[node]
    return shares
