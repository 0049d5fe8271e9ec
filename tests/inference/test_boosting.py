"""The native boosting is GRNBoost2: a plain twin's tree by tree, scikit-learn's on average, in any company."""

import numpy as np
import pytest
import scipy.sparse as sp

from llm4grn.inference.boosting import engine
from llm4grn.inference.boosting.draws import draw_bag, draw_order, mix
from llm4grn.inference.boosting.engine import boost_targets, boosted_importances, presort

SINGLE = np.float32


def sparse_cells(n_cells=150, n_tfs=12, n_targets=3, seed=0):
    """Counts with many ties and zeros; target 0 follows TF 0, target 1 TFs 1 and 2, the rest noise."""
    rng = np.random.default_rng(seed)
    tfs = rng.poisson(rng.gamma(1.0, 1.0, n_tfs), (n_cells, n_tfs)).astype(float)
    targets = rng.gamma(0.5, 2.0, (n_cells, n_targets))
    targets[:, 0] += 2 * tfs[:, 0]
    targets[:, 1] += tfs[:, 1] + 3 * (tfs[:, 2] > 0)
    return tfs, targets


class PlainBoosting:
    """One target, one tree after another, one cell after another: the definition, in float32 where the kernels are."""

    def __init__(self, tfs, response, own, seed):
        self.tfs, self.own = tfs.astype(SINGLE), own
        self.n_cells, self.n_tfs = tfs.shape
        self.n_tries = max(1, int(0.1 * (self.n_tfs - (own >= 0))))
        mean = sum(response.tolist()) / self.n_cells
        scale = np.sqrt(sum((y - mean) ** 2 for y in response.tolist()) / self.n_cells)
        self.residuals = ((response - mean) / scale).astype(SINGLE)
        self.removed = np.zeros(self.n_tfs)
        self.key = np.uint64(mix(np.uint64(seed)))

    def fit(self):
        losses, tree = [], 0
        while tree < engine.N_TREES:
            key = np.uint64(mix(self.key ^ np.uint64(mix(np.uint64(tree)))))
            in_bag, left_out = np.empty(self.n_cells, np.uint8), np.empty(self.n_cells, np.int32)
            out = left_out[: draw_bag(key, in_bag, left_out)]
            self.in_bag, self.orders = in_bag == 1, []
            for node in range(7):
                order = np.empty(self.n_tfs, np.int32)
                draw_order(np.uint64(mix(key ^ np.uint64(node + 1))), order)
                self.orders.append(order)
            if tree == 0:
                losses.append(self.loss(out))
            sums = sum(self.residuals.astype(float).tolist()) - sum(self.residuals[out].astype(float).tolist())
            steps = np.zeros(self.n_cells, SINGLE)
            self.grow(0, 0, np.arange(self.n_cells), sums, steps)
            self.residuals = self.residuals - steps
            losses.append(self.loss(out))
            tree += 1
            improvements = -np.diff(losses)[-25:]  # telescopes: the loss after a tree is the next one's loss before
            if tree >= 25 and losses[-1] > losses[-26]:
                assert improvements.mean() < 1e-12
                break
        return self.removed * tree / (self.removed.sum() or 1), tree

    def loss(self, out):
        return sum((self.residuals[out].astype(float) ** 2).tolist())

    def grow(self, level, code, cells, total, steps):
        members = cells[self.in_bag[cells]]
        size = len(members)
        split = self.split(2**level - 1 + code, members, total / size) if level < 3 and size > 1 else None
        if split is None and level < 3:  # tried once more at the next level, as if all cells had gone left
            return self.grow(level + 1, code, cells, total, steps)
        if level == 3:
            steps[cells] = SINGLE(0.01 * total / size) if size else 0
            return None
        f, threshold, gain, n_right, centred = split
        self.removed[f] += gain
        right = self.tfs[cells, f] > threshold
        right_total = float(centred) + total / size * n_right
        self.grow(level + 1, code, cells[~right], total - right_total, steps)
        return self.grow(level + 1, code | 1 << level, cells[right], right_total, steps)

    def split(self, node, members, mean):
        mean = SINGLE(mean)
        best = None, SINGLE(0), SINGLE(1)
        n_visited, varies = 0, False
        for f in self.orders[node]:
            if f == self.own:
                continue
            if n_visited >= self.n_tries and varies:
                break
            n_visited += 1
            values = self.tfs[members, f]
            order = np.argsort(-values, kind="stable")
            centred = np.cumsum(self.residuals[members[order]] - mean, dtype=SINGLE)
            ordered = values[order]
            for i in np.flatnonzero(ordered[:-1] > ordered[1:] + SINGLE(1e-7)):
                varies = True
                n = i + 1
                top, below = centred[i] * centred[i], SINGLE(n) * (SINGLE(len(members)) - SINGLE(n))
                if node == 0:
                    top, below = top * SINGLE(1 / (float(n) * (len(members) - n))), SINGLE(1)
                if top * best[2] > best[1] * below:
                    threshold = np.float64(ordered[i]) / 2 + np.float64(ordered[i + 1]) / 2
                    best = (f, threshold, n, centred[i]), top, below
        if best[0] is None:
            return None
        f, threshold, n, centred = best[0]
        gain = float(best[1]) / float(best[2]) * len(members)
        return (f, threshold, gain, n, centred) if gain > 1e-11 * self.n_cells else None


DATA = {
    "counts": lambda tfs: tfs,
    "negative values": lambda tfs: (tfs - tfs.mean(0)) / (tfs.std(0) + 0.1),
    "a dense TF, a rare one, a constant one": lambda tfs: np.column_stack(
        [tfs[:, :3], tfs[:, 3] + 1, np.eye(len(tfs))[:, 5], np.full(len(tfs), 2.0)]
    ),
    "thirty TFs": lambda tfs: np.column_stack([tfs, tfs[::-1], np.roll(tfs[:, :6], 7, axis=0)]),
}


@pytest.mark.parametrize("own", [[-1, -1, -1], [1, 2, -1]], ids=["targets are no TFs", "targets are TFs"])
@pytest.mark.parametrize("data", DATA)
def test_it_is_the_plain_algorithm_tree_by_tree(data, own):
    tfs, targets = sparse_cells()
    tfs = DATA[data](tfs)
    importances, n_trees = boosted_importances(sp.csc_matrix(tfs), sp.csc_matrix(targets), own, seed=3, n_threads=1)
    for target in range(3):
        twin = PlainBoosting(tfs, targets[:, target], own[target], seed=3)
        if max(own) >= 0:
            twin.n_tries = max(1, int(0.1 * (tfs.shape[1] - 1)))
        expected, trees = twin.fit()
        assert n_trees[target] == trees
        np.testing.assert_allclose(importances[target], expected, rtol=1e-6)
        if own[target] >= 0:
            assert importances[target, own[target]] == 0


@pytest.mark.slow
def test_it_agrees_with_scikit_learn_on_average_over_seeds():
    from arboreto import core

    tfs, targets = sparse_cells(n_cells=120, n_tfs=8)
    n_seeds = 40
    ours = [boosted_importances(sp.csc_matrix(tfs), sp.csc_matrix(targets), [-1] * 3, s, 1) for s in range(n_seeds)]
    for target in range(3):
        theirs, their_trees = [], []
        for seed in range(n_seeds):
            model = core.fit_model("GBM", core.SGBM_KWARGS, tfs.astype(np.float32), targets[:, target], seed=seed)
            theirs.append(core.to_feature_importances("GBM", core.SGBM_KWARGS, model))
            their_trees.append(len(model.estimators_))
        for mine, other in (
            (np.array([run[0][target] for run in ours]), np.array(theirs)),
            (np.array([run[1][target] for run in ours]), np.array(their_trees)),
        ):
            error = np.sqrt((mine.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / n_seeds)
            assert np.all(np.abs(mine.mean(axis=0) - other.mean(axis=0)) <= 4.5 * error)


def test_neither_threads_nor_company_nor_stored_zeros_change_a_bit():
    tfs, targets = sparse_cells(n_targets=70)
    alone = np.full(70, -1)
    expected, n_trees = boosted_importances(sp.csc_matrix(tfs), sp.csc_matrix(targets), alone, 5, 1)
    threaded, _ = boosted_importances(sp.csc_matrix(tfs), sp.csc_matrix(targets), alone, 5, 3)
    np.testing.assert_array_equal(threaded, expected)
    assert len(set(n_trees)) > 5  # lanes close ranks at different times
    some = [66, 1, 30]
    fewer, _ = boosted_importances(sp.csc_matrix(tfs), sp.csc_matrix(targets[:, some]), alone[:3], 5, 2)
    np.testing.assert_array_equal(fewer, expected[some])
    stored = sp.csc_matrix(tfs + 1)
    stored.data -= 1
    with_zeros, _ = boosted_importances(stored, sp.csc_matrix(targets), alone, 5, 2)
    np.testing.assert_array_equal(with_zeros, expected)
    np.testing.assert_allclose(expected.sum(axis=1), n_trees, rtol=1e-12)


def test_part_after_part_is_as_all_at_once(monkeypatch):
    tfs, responses = sparse_cells(n_targets=40)
    problem = engine.prepare(tfs, responses, np.full(40, -1))
    parts = []
    whole = engine.boost_on_threads(problem, [1, 2], 1)
    monkeypatch.setattr(engine, "_RESIDUALS", 4 * 150 * 16)  # those of sixteen targets
    monkeypatch.setattr(
        engine, "boost_targets", lambda part, *rest: (parts.append(part), boost_targets(part, *rest))[1]
    )
    np.testing.assert_array_equal(engine.boost_on_threads(problem, [1, 2], 1), whole)
    assert [len(part.owns) for part in parts] == [16, 16, 8, 16, 16, 8]


@pytest.mark.parametrize("scale", [1e-3, 2.0**40])
def test_the_scale_of_a_target_does_not_matter(scale):
    tfs, targets = (sp.csc_matrix(part) for part in sparse_cells())
    importances, n_trees = boosted_importances(tfs, targets, [-1] * 3, 5, 1)
    scaled, scaled_trees = boosted_importances(tfs, targets * scale, [-1] * 3, 5, 1)
    np.testing.assert_array_equal(scaled_trees, n_trees)
    np.testing.assert_allclose(scaled, importances, rtol=1e-3, atol=1e-3)


def test_it_stops_at_the_largest_number_of_trees(monkeypatch):
    tfs, targets = sparse_cells(n_cells=3000)
    matrices = sp.csc_matrix(tfs[:, :2]), sp.csc_matrix(2 * tfs[:, :1] + 0.01 * targets[:, 2:])
    _, unlimited = boosted_importances(*matrices, [-1], 0, 1)
    assert 60 < unlimited[0] < engine.N_TREES
    monkeypatch.setattr(engine, "N_TREES", 50)
    importances, n_trees = boosted_importances(*matrices, [-1], 0, 1)
    assert n_trees.tolist() == [50]
    assert importances[0].argmax() == 0


def test_tfs_that_do_not_vary_get_nothing():
    _, targets = sparse_cells()
    importances, n_trees = boosted_importances(
        sp.csc_matrix(np.full((150, 2), 3.0)), sp.csc_matrix(targets), [-1] * 3, 0, 1
    )
    assert not importances.any()
    assert (n_trees < 1000).all()


def test_presort_keeps_the_values_above_the_smallest_in_descending_order():
    columns = presort(sp.csc_matrix(np.array([[0.0, 2, -1], [3, 2, 0], [3, 5, 0], [7, 2, 4]])))
    assert columns.starts.tolist() == [0, 3, 4, 7]
    assert columns.cells.tolist() == [3, 1, 2, 2, 3, 1, 2]
    assert columns.values.tolist() == [7, 3, 3, 5, 4, 0, 0]
    assert columns.floors.tolist() == [0, 2, -1]
    assert columns.owners.tolist() == [0, 0, 0, 1, 2, 2, 2]
    same = columns.runs[1:] == columns.runs[:-1]
    assert same.tolist() == [False, True, False, False, False, True]
