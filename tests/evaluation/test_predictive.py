"""The held-out predictive score: its regressions, its spaces, and what it says of graphs that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anndata
import numpy as np
import pandas as pd
import pytest

from llm4grn.evaluation.graphs.held_out import RAW, WITHIN, HeldOut
from llm4grn.evaluation.graphs.predictive import PredictiveRuler, _random_lists, dropped_edge_gains
from llm4grn.evaluation.graphs.predictive_score import PredictiveScore
from llm4grn.evaluation.graphs.predictive_table import score_table
from llm4grn.evaluation.graphs.regression import N_FOLDS, PENALTIES, fit_ridge, trees
from llm4grn.grn import CausalGraph

TFS = tuple(f"TF{i:02}" for i in range(12))
TARGETS = tuple(f"G{i:02}" for i in range(24))
GENES = (*TFS, *TARGETS)


def _adata(log_expression: np.ndarray, types: Sequence[str] | None = None) -> anndata.AnnData:
    """Cells whose log expression is the given one (at least 0)."""
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(len(log_expression))])
    if types is not None:
        obs["cell_type"] = pd.Categorical(types)
    values = np.expm1(np.maximum(log_expression, 0)).astype(np.float32)
    return anndata.AnnData(values, obs=obs, var=pd.DataFrame(index=list(GENES)))


def _held_out(log_expression: np.ndarray, n_train: int, types: np.ndarray | None = None) -> HeldOut:
    adata = _adata(log_expression, types)
    return HeldOut.of(adata[:n_train].copy(), adata[n_train:].copy(), 0)


def _graph(regulators: Mapping[str, Sequence[str]]) -> CausalGraph:
    return CausalGraph(GENES, {target: tuple(own) for target, own in regulators.items()})


@pytest.fixture(scope="module")
def regulated() -> tuple[HeldOut, CausalGraph]:
    """Cells of one type in which each target depends on three TFs, and the graph of these."""
    rng = np.random.default_rng(1)
    tfs = 3 + rng.normal(size=(700, len(TFS)))
    own = {target: tuple(sorted(rng.choice(TFS, 3, replace=False))) for target in TARGETS}
    weights = np.zeros((len(TFS), len(TARGETS)))
    for column, names in enumerate(own.values()):
        weights[[TFS.index(name) for name in names], column] = rng.choice([-0.4, 0.4], 3)
    targets = 3 + (tfs - 3) @ weights + 0.5 * rng.normal(size=(700, len(TARGETS)))
    return _held_out(np.column_stack([tfs, targets]), 400), _graph(own)


@pytest.fixture(scope="module")
def marked() -> tuple[HeldOut, CausalGraph]:
    """Cells of four types that TFs and targets mark, without regulation, and the graph of the marks."""
    rng = np.random.default_rng(2)
    kind = rng.integers(4, size=1200)
    marks = np.arange(len(GENES)) % 4
    log = 2.5 + 2.0 * (kind[:, None] == marks) + 0.5 * rng.normal(size=(1200, len(GENES)))
    own = {
        target: tuple(tf for tf, mark in zip(TFS, marks[: len(TFS)], strict=True) if mark == marks[GENES.index(target)])
        for target in TARGETS
    }
    return _held_out(log, 800, np.array(["a", "b", "c", "d"])[kind]), _graph(own)


def _score(cells: HeldOut, graph: CausalGraph, models: Sequence[str] = ("ridge",)) -> PredictiveScore:
    return PredictiveRuler.of(cells, graph, TFS, list(models), 0).score(graph)  # type: ignore[arg-type]


def _gain(score: PredictiveScore, space: str = RAW) -> float:
    return float(score.summary().set_index("cells").loc[space, "gain"])


class TestRegression:
    def test_ridge_is_scikit_learns_with_the_penalty_of_the_lowest_cross_validated_error(self) -> None:
        from sklearn.linear_model import Ridge

        rng = np.random.default_rng(0)
        x = np.log1p(rng.poisson(0.7, (203, 15)).astype(float))
        x[:, 4] = 1.0  # a regulator that does not vary
        y = x @ (rng.normal(size=(15, 6)) * (rng.random((15, 6)) < 0.3)) + rng.normal(size=(203, 6))
        test = rng.normal(size=(20, 15))
        lists = np.array([rng.choice(15, 5, replace=False) for _ in range(6)])
        lists[0, 3:] = -1
        fit = fit_ridge(x, y, lists)
        fold = np.arange(len(x)) % N_FOLDS
        for target in range(6):
            own = lists[target][lists[target] >= 0]
            scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)[own]
            z, z_test = (x[:, own] - x.mean(axis=0)[own]) / scale, (test[:, own] - x.mean(axis=0)[own]) / scale
            errors = []
            for penalty in PENALTIES:
                squared = 0.0
                for f in range(N_FOLDS):
                    model = Ridge(alpha=penalty * (fold != f).sum()).fit(z[fold != f], y[fold != f, target])
                    squared += ((y[fold == f, target] - model.predict(z[fold == f])) ** 2).sum()
                errors.append(squared)
            best = Ridge(alpha=PENALTIES[np.argmin(errors)] * len(x)).fit(z, y[:, target])
            np.testing.assert_allclose(fit.predict(test)[:, target], best.predict(z_test), atol=1e-9)
            total = ((y[:, target] - y[:, target].mean()) ** 2).sum()
            assert fit.cv_r2[target] == pytest.approx(1 - min(errors) / total, abs=1e-9)

    def test_one_list_for_all_targets_gives_what_each_target_alone_gives(self) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(100, 8)), rng.normal(size=(100, 5)) + 1
        y[:, :3] += x[:, :3]
        shared = np.tile(np.arange(8), (5, 1))
        alone = [fit_ridge(x, y[:, [target]], shared[:1]).coefficients[:, 0] for target in range(5)]
        np.testing.assert_allclose(fit_ridge(x, y, shared).coefficients.T, alone, atol=1e-12)
        mixed = fit_ridge(x, y, np.vstack([shared[:4], [[0, 1, 2, 3, -1, -1, -1, -1]]]))
        np.testing.assert_allclose(mixed.coefficients[:, :4].T, alone[:4], atol=1e-12)

    def test_trees_see_what_a_line_does_not_and_only_in_their_own_regulators(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(1000, 6))
        y = np.column_stack([np.abs(x[:, 2]), np.abs(x[:, 3]), rng.normal(size=1000)])
        lists = np.array([[2, 5], [0, 1], [-1, -1]])
        predicted = trees(x[:700], y[:700], x[700:], lists)
        r2 = 1 - ((y[700:] - predicted) ** 2).mean(axis=0) / y[700:].var(axis=0)
        assert r2[0] > 0.8
        assert abs(r2[1]) < 0.1
        assert np.allclose(predicted[:, 2], y[:700, 2].mean())


class TestSpaces:
    def test_within_a_type_nothing_of_type_and_depth_is_left_in_the_training_cells(self) -> None:
        rng = np.random.default_rng(0)
        types = rng.choice(["a", "b", "c"], 300)
        log = 2 + rng.normal(size=(300, len(GENES))) + (types == "a")[:, None]
        cells = _held_out(log, 200, types)
        assert cells.types == "annotated"
        assert cells.n_types == 3
        left = cells.train[WITHIN]
        smallest = np.expm1(np.maximum(log[:200], 0))
        depth = -np.log(np.where(smallest > 0, smallest, np.inf).min(axis=1))
        for regressor in (*((types[:200] == kind).astype(float) for kind in "abc"), depth):
            np.testing.assert_allclose(regressor @ left, 0, atol=1e-3)

    def test_coefficients_are_those_of_the_training_cells(self) -> None:
        rng = np.random.default_rng(0)
        types = rng.choice(["a", "b"], 300)
        log = 2 + rng.normal(size=(300, len(GENES)))
        other = log.copy()
        other[200:] += 1.0
        first, second = _held_out(log, 200, types), _held_out(other, 200, types)
        np.testing.assert_array_equal(first.train[WITHIN], second.train[WITHIN])
        assert np.abs(first.test[WITHIN] - second.test[WITHIN]).mean() > 0.5

    def test_test_cells_of_a_type_without_training_cells_are_left_out_within_types_only(self) -> None:
        log = 2 + np.random.default_rng(0).normal(size=(60, len(GENES)))
        types = np.array(["a", "b"] * 20 + ["a"] * 15 + ["c"] * 5)
        cells = _held_out(log, 40, types)
        assert (len(cells.test[RAW]), len(cells.test[WITHIN])) == (20, 15)

    def test_without_types_clusters_of_the_training_cells_stand_for_them(self, marked: tuple) -> None:
        annotated, _ = marked
        log = np.vstack([annotated.train[RAW], annotated.test[RAW]])
        cells = _held_out(log, len(annotated.train[RAW]))
        assert cells.types == "clusters"
        assert cells.n_types >= 4
        # The types explain most of the variance, and so must the clusters, also in the test cells.
        assert cells.test[WITHIN].var(axis=0).mean() < 0.5 * cells.test[RAW].var(axis=0).mean()


class TestScore:
    @pytest.mark.slow
    def test_the_true_graph_is_the_best_of_its_size(self, regulated: tuple) -> None:
        cells, truth = regulated
        best = _gain(_score(cells, truth))
        assert best > 0.2
        rng = np.random.default_rng(3)
        for _ in range(20):  # each time, one regulator of each target is another TF
            wrong = {}
            for target, own in truth.regulators.items():
                kept = rng.choice(own, 2, replace=False)
                wrong[target] = (*kept, rng.choice([tf for tf in TFS if tf not in own]))
            assert _gain(_score(cells, _graph(wrong))) < best
        summary = _score(cells, truth).summary().set_index("cells")
        assert summary.loc[RAW, "share"] == pytest.approx(1, abs=0.05)
        assert summary.loc[RAW, "n_better"] == len(TARGETS)
        assert summary.loc[RAW, "low"] < best < summary.loc[RAW, "high"]

    def test_a_random_graph_gains_nothing(self, regulated: tuple) -> None:
        cells, truth = regulated
        rng = np.random.default_rng(5)
        gains = [
            _gain(_score(cells, _graph({target: rng.choice(TFS, 3, replace=False) for target in TARGETS})))
            for _ in range(10)
        ]
        assert abs(np.mean(gains)) < 0.03
        assert max(gains) < 0.5 * _gain(_score(cells, truth))

    @pytest.mark.slow
    def test_a_graph_of_marks_gains_raw_and_nothing_within_types(self, marked: tuple) -> None:
        cells, marks = marked
        score = _score(cells, marks, ["ridge", "trees"])
        summary = score.summary().set_index(["cells", "model"])
        for model in ("ridge", "trees"):
            assert summary.loc[(RAW, model), "low"] > 0.1
            assert abs(summary.loc[(WITHIN, model), "gain"]) < 0.01
        assert summary.loc[(WITHIN, "ridge"), "n_better"] == 0
        assert np.isnan(summary.loc[(WITHIN, "ridge"), "share"])
        assert "within cell types these cells cannot tell graphs apart" in str(score.warning())

    def test_regulation_is_still_seen_within_types(self, regulated: tuple) -> None:
        cells, truth = regulated
        assert _gain(_score(cells, truth), WITHIN) > 0.1
        assert _score(cells, truth).warning() is None

    def test_cells_of_noise_are_said_to_tell_nothing(self) -> None:
        log = 3 + np.random.default_rng(0).normal(size=(300, len(GENES)))
        graph = _graph({target: TFS[:10] for target in TARGETS})
        score = _score(_held_out(log, 60), graph)
        # 60 cells and 10 regulators: fitted on the cells that are scored, R2 would be far above 0.
        assert score.targets["r2"].mean() < 0.02
        assert str(score.warning()).startswith("these cells cannot tell graphs apart")

    def test_tests_cells_decide_neither_the_fit_nor_what_is_predictable(self, regulated: tuple) -> None:
        cells, truth = regulated
        order = np.random.default_rng(0).permutation(len(cells.test[RAW]))
        tfs = cells.columns(TFS)
        shuffled = {space: values.copy() for space, values in cells.test.items()}
        for space in shuffled:
            shuffled[space][:, tfs] = shuffled[space][order][:, tfs]
        broken = HeldOut(cells.genes, cells.train, shuffled, cells.types, cells.n_types)
        score = _score(broken, truth)
        assert score.targets["r2"].max() < 0.1
        assert score.targets["predictable"].equals(_score(cells, truth).targets["predictable"])

    def test_a_target_that_does_not_vary_in_the_test_cells_is_left_out(self, regulated: tuple) -> None:
        cells, truth = regulated
        still = {space: values.copy() for space, values in cells.test.items()}
        for values in still.values():
            values[:, GENES.index("G03")] = 1.0
        score = _score(HeldOut(cells.genes, cells.train, still, cells.types, cells.n_types), truth)
        assert score.targets.loc[score.targets["target"] == "G03", "r2"].isna().all()
        assert (score.summary()["n_targets"] == len(TARGETS) - 1).all()

    def test_tfs_that_are_targets_never_predict_themselves(self, regulated: tuple) -> None:
        cells, truth = regulated
        layered = _graph({**truth.regulators, "TF00": ("TF01", "TF02")})
        score = _score(cells, layered).targets.set_index(["target", "cells"])
        assert score.loc[("TF00", RAW), "r2_all"] < 0.9
        assert score.loc[("TF00", RAW), "r2_random"] < 0.5

    def test_random_lists_are_as_long_distinct_and_without_the_target(self) -> None:
        targets, sizes = ("TF00", "G00", "G01"), (11, 3, 1)
        first, second = _random_lists(TFS, targets, sizes, 2, 0)
        for lists in (first, second):
            for target, size, row in zip(targets, sizes, lists, strict=True):
                own = row[row >= 0]
                assert len(own) == len(set(own)) == size
                assert target not in {TFS[i] for i in own}
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(first, _random_lists(TFS, targets, sizes, 2, 0)[0])
        assert not np.array_equal(first, _random_lists(TFS, targets, sizes, 2, 1)[0])

    def test_only_true_edges_are_missed_when_they_are_dropped(self, regulated: tuple) -> None:
        cells, truth = regulated
        target = TARGETS[0]
        true, other = truth.regulators[target], [tf for tf in TFS if tf not in truth.regulators[target]][:3]
        graph = _graph({target: (*true, *other)})
        gains = dropped_edge_gains(cells, graph, [(tf, target) for tf in (*true, *other)]).set_index("TF")
        assert gains.loc[list(true), [RAW, WITHIN]].to_numpy().min() > 0.03
        assert np.abs(gains.loc[other, RAW]).max() < 0.02

    @pytest.mark.slow
    def test_rulers_and_scores_come_back_from_their_files(self, regulated: tuple, tmp_path) -> None:
        cells, truth = regulated
        ruler = PredictiveRuler.of(cells, truth, TFS, ["ridge", "trees"], 0)
        ruler.write(tmp_path / "ruler.npz")
        again = PredictiveRuler.read(tmp_path / "ruler.npz", cells, truth, TFS)
        score = ruler.score(truth)
        pd.testing.assert_frame_equal(again.score(truth).targets, score.targets)
        score.write(tmp_path / "score.tsv")
        read = PredictiveScore.read(tmp_path / "score.tsv")
        pd.testing.assert_frame_equal(read.summary(), score.summary(), rtol=1e-6)
        assert list(read.metrics()) == [
            f"predictive_{cells}_{model}" for cells in ("raw", "within_type") for model in ("ridge", "trees")
        ]
        other = _graph({target: own[:2] for target, own in truth.regulators.items()})
        with pytest.raises(ValueError, match="other targets or numbers"):
            ruler.score(other)

    def test_the_table_shows_gain_interval_ceiling_and_share(self, regulated: tuple) -> None:
        cells, truth = regulated
        score = _score(cells, truth)
        row = score.summary().iloc[0]
        shown = [getattr(cell, "text", cell) for cell in score_table(score).rows[0]]
        assert shown == [
            "Raw",
            "ridge",
            f"{row.gain:.4f}",
            f"{row.low:.4f} to {row.high:.4f}",
            f"{row.ceiling:.4f}",
            f"{100 * row.share:.0f} %",
            f"{row.n_better} of {row.n_predictable}",
        ]
