"""What is computed once for several sets, and what is approximated for many cells unless exact values are asked for."""

import numpy as np
import pytest

from llm4grn.evaluation.scores.score import score, score_all
from llm4grn.metrics import functional, mmd, summaries
from llm4grn.metrics.arrays import RealCells
from llm4grn.metrics.registry import METRICS

RNG = np.random.default_rng(0)
REAL = RNG.gamma(0.4, 30, size=(70, 25))
SETS = [RNG.gamma(0.4 + 0.1 * i, 30, size=(n, 25)) for i, n in enumerate((70, 70, 40, 90))]
QUICK = [name for name in METRICS if name not in ("rf_auroc", "milisi")]


@pytest.fixture
def few_exact(monkeypatch):
    monkeypatch.setattr(mmd, "MOST_EXACT", 20)


def test_sets_scored_together_score_as_they_do_alone():
    seeds = [3, 4, 5, 6]
    alone = [score(REAL, cells, seed, QUICK) for cells, seed in zip(SETS, seeds, strict=True)]
    assert score_all(REAL, iter(SETS), seeds, QUICK) == alone


@pytest.mark.parametrize(
    ("metric", "module", "step"),
    [
        ("mmd", mmd, "mmd_bandwidth"),
        ("gene_means", summaries, "_log_moments"),
        ("gene_correlations", summaries, "correlations"),
    ],
)
def test_what_the_real_cells_tell_alone_is_computed_once(metric, module, step, monkeypatch):
    calls, whole = [], getattr(module, step)
    monkeypatch.setattr(module, step, lambda cells, **options: calls.append(cells[0, 0]) or whole(cells, **options))
    score_all(REAL, SETS[:2], [0, 1], [metric])
    assert calls.count(REAL[0, 0]) == 1


def test_real_cells_are_taken_by_every_metric_as_an_array_is(monkeypatch):
    monkeypatch.setitem(functional.rf_auroc.__kwdefaults__, "n_trees", 10)
    known = RealCells(REAL)
    for info in METRICS.values():
        assert info(known, SETS[0], 0) == info(REAL, SETS[0], 0) == info(known, SETS[0], 0)


def test_mmd_of_many_cells_is_close_to_the_exact_one_which_an_option_gives(few_exact):
    rough, exact = mmd.mmd(REAL, SETS[1]), mmd.mmd(REAL, SETS[1], exact=True)
    assert rough == pytest.approx(exact, rel=0.05)
    assert rough != exact
    width = mmd.mmd_bandwidth(REAL, exact=True)
    assert mmd.mmd(REAL, SETS[1], width) == pytest.approx(exact, rel=1e-5)  # the distances alone
    assert mmd.mmd(REAL, SETS[1], width, exact=True) == exact


def test_exact_values_are_those_of_few_cells(monkeypatch):
    expected = score(REAL, SETS[1], 0, QUICK)
    monkeypatch.setattr(mmd, "MOST_EXACT", 20)
    assert score(REAL, SETS[1], 0, QUICK, exact=True) == expected
    found = score(REAL, SETS[1], 0, QUICK)
    assert [name for name in QUICK if found[name] != expected[name]] == ["mmd"]


def test_the_bandwidth_of_many_cells_is_read_off_some_of_them(few_exact):
    distances = np.linalg.norm(REAL[:, None] - REAL[None], axis=2)
    nearest = np.sort(distances, axis=1)[:, 24]  # a cell itself comes first
    some = np.arange(20) * 70 // 20
    assert mmd.mmd_bandwidth(REAL) == pytest.approx(np.median(nearest[some]), rel=1e-5)
    assert mmd.mmd_bandwidth(REAL, exact=True) == pytest.approx(np.median(nearest), rel=1e-9)


def test_milisi_is_asked_for_all_pairs(monkeypatch):
    methods = []
    monkeypatch.setattr(
        "llm4grn.metrics.mixing.tsne", lambda cells, seed, method: methods.append(method) or cells[:, :2]
    )
    for exact in (False, True):
        METRICS["milisi"](REAL, SETS[0], 0, exact)
    assert methods == ["auto", "pairs"]
