"""Intervals and tests against values worked out by hand or by scipy."""

import math
import statistics

import numpy as np
import pytest
from results_by_hand import make_results
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from llm4grn.evaluation.scores.controls import random_run
from llm4grn.evaluation.scores.statistics import (
    bootstrap_interval,
    critical_t,
    differences,
    differences_from,
    holm,
    intervals,
    mean_interval,
    share_interval,
)
from llm4grn.evaluation.scores.summary import summarise

RNG = np.random.default_rng(7)


def runs(inferer: str, auroc: dict[int, tuple[float, ...]], source: str = "run", kb: str = "human") -> list:
    """Results whose RF AUROC is given per seed and sample, and whose MMD is a tenth of it."""
    results = []
    for seed, values in auroc.items():
        rows = [(0.001, 100.0, value / 10, value) for value in values]
        results += make_results(source, rows, seed=seed, inferer=inferer, kb=kb)
    return results


def by_hand_holm(p: list[float]) -> list[float]:
    """Smallest p times n, next times n - 1, and so on; never below one before it, never above 1."""
    corrected, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected


# ---- bootstrap


def test_one_seed_is_the_plain_bootstrap():
    values = RNG.normal(5, 1, 30)
    low, high = bootstrap_interval({1: values}, seed=3)
    known = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    assert low == pytest.approx(known.low, abs=0.02)
    assert high == pytest.approx(known.high, abs=0.02)


def test_two_constant_seeds_give_the_two_seeds():
    # Means of the resamples: 1, 1.5 and 2 with probabilities 1/4, 1/2, 1/4. Values taken for independent would give
    # a mean of 8 draws out of {1, 2}, and an interval within (1.1, 1.9).
    assert bootstrap_interval({1: (1.0,) * 4, 2: (2.0,) * 4}, seed=0) == (1.0, 2.0)


@pytest.fixture
def resampled(monkeypatch) -> list[np.ndarray]:
    """Gets the means that an interval is read off."""
    drawn, quantile = [], np.quantile
    monkeypatch.setattr(np, "quantile", lambda means, at: drawn.append(means) or quantile(means, at))
    return drawn


def test_spread_of_resampled_means_is_that_of_the_formula(resampled):
    """Var = 1/S (variance between seed means + mean over seeds of variance within / samples), each with divisor n."""
    samples = {seed: RNG.normal(seed, 2, 5) for seed in range(6)}
    bootstrap_interval(samples, seed=1)
    means = [values.mean() for values in samples.values()]
    expected = (np.var(means) + np.mean([values.var() / 5 for values in samples.values()])) / 6
    assert np.var(resampled[0]) == pytest.approx(expected, rel=0.05)
    assert np.mean(resampled[0]) == pytest.approx(np.mean(means), abs=0.05)


def test_unequal_numbers_of_samples_count_by_sample(resampled):
    # Seed 2 lost three of four samples. Both drawn: (4 x 0 + 1 x 1) / 5, with probability 1/2.
    bootstrap_interval({1: (0.0,) * 4, 2: (1.0,)}, seed=0)
    values, counts = np.unique(resampled[0].round(9), return_counts=True)
    assert values.tolist() == [0.0, 0.2, 1.0]
    assert counts / counts.sum() == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_a_single_value_has_no_interval_and_a_seed_gives_the_same_one_again():
    assert bootstrap_interval({1: (0.5,)}, seed=0) is None
    samples = {1: (0.1, 0.2, 0.4), 2: (0.3, 0.2, 0.6)}
    assert bootstrap_interval(samples, 5) == bootstrap_interval(samples, 5) != bootstrap_interval(samples, 6)


def test_interval_over_units_is_the_plain_bootstrap_and_a_lone_one_has_none():
    values = RNG.normal(5, 1, 200)
    low, high = mean_interval(values, seed=3)
    known = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    assert low == pytest.approx(known.low, abs=0.02)
    assert high == pytest.approx(known.high, abs=0.02)
    assert (low, high) == mean_interval(values, seed=3) != mean_interval(values, seed=4)
    assert mean_interval(np.array([1.0, 2.0]), seed=0) == (1.0, 2.0)
    for few in np.array([]), np.array([1.0]):
        assert all(map(math.isnan, mean_interval(few, seed=0)))


def test_number_of_seeds_on_which_the_better_one_leads():
    rows = summarise(
        [*runs("pidc", {1: (0.6,), 2: (0.7,), 3: (0.5,)}), *runs("genie3", {1: (0.7,), 2: (0.6,), 3: (0.8,)})]
    )
    (test,) = [one for one in differences(rows) if one.metric == "rf_auroc"]
    assert test.better.inferer == "pidc"
    assert test.leads == 2  # of three
    assert test.means == pytest.approx((0.7, 0.6)) or test.means == pytest.approx((0.6, 0.7))


def test_coverage_is_what_the_docstring_admits(monkeypatch):
    monkeypatch.setattr("llm4grn.evaluation.scores.statistics.N_RESAMPLES", 500)
    rng = np.random.default_rng(0)
    held = {2: 0, 10: 0}
    for n_seeds in held:
        for trial in range(400):
            centres = rng.normal(0, 1, n_seeds)
            low, high = bootstrap_interval({s: rng.normal(c, 1, 4) for s, c in enumerate(centres)}, trial)
            held[n_seeds] += low <= 0 <= high
    assert 0.68 < held[2] / 400 < 0.82
    assert 0.89 < held[10] / 400 < 0.97


# ---- intervals


ALL = [
    *runs("", {1: (0.50, 0.52), 2: (0.49, 0.51)}, source="control"),
    *runs("", {1: (0.60, 0.62), 2: (0.61, 0.63)}, source="stage1"),
    *runs("grnboost2", {1: (0.60, 0.70), 2: (0.62, 0.68)}),
    *runs("random", {1: (0.80, 0.82), 2: (0.88, 0.90)}),
    *runs("random", {1: (0.70, 0.72), 2: (0.74, 0.76)}, kb="gpt4"),
]


def test_share_of_the_way_from_the_random_graph_to_the_control():
    found = {
        (one.row.source, one.row.kb, one.row.inferer): one for one in intervals(summarise(ALL)) if one.metric == "mmd"
    }
    floor, random = 0.0505, statistics.fmean([0.080, 0.082, 0.088, 0.090])
    one = found["run", "human", "grnboost2"]
    assert (one.floor, one.useless) == (pytest.approx(floor), pytest.approx(random))
    assert one.share == pytest.approx((random - 0.065) / (random - floor))
    assert (one.seeds, one.n, one.std) == (2, 4, pytest.approx(statistics.stdev([0.060, 0.070, 0.062, 0.068])))
    assert one.low <= one.mean <= one.high
    assert found["control", "", ""].share == pytest.approx(1)
    assert found["run", "human", "random"].share == pytest.approx(0)
    assert found["run", "gpt4", "random"].useless == pytest.approx(0.073)  # its own KB's


def test_no_share_without_control_or_random_graph_or_a_gap_between_them():
    without_random = [result for result in ALL if result.inferer != "random"]
    without_control = [result for result in ALL if result.source != "control"]
    for results in (without_random, without_control):
        assert all(one.share is None for one in intervals(summarise(results)))
    cosine = [one for one in intervals(summarise(ALL)) if one.metric == "cosine_distance"]
    assert all(one.share is None for one in cosine)  # the same for all


def test_a_random_graph_of_another_model_is_no_yardstick():
    rows = summarise([*make_results(), *make_results(inferer="random", model="paper")])
    assert random_run(rows[0], rows) is None


# ---- differences


def test_pairs_by_seed_as_scipy_does():
    a = {1: (0.60, 0.70), 2: (0.62, 0.68), 3: (0.61, 0.60), 4: (0.99, 0.98)}
    b = {1: (0.80, 0.82), 2: (0.88, 0.90), 3: (0.75, 0.80), 5: (0.10, 0.20)}
    found = {one.metric: one for one in differences(summarise(runs("grnboost2", a) + runs("random", b)))}
    one = found["rf_auroc"]
    means = [[statistics.fmean(values[seed]) for seed in (1, 2, 3)] for values in (a, b)]
    known = stats.ttest_rel(*means)
    assert one.seeds == (1, 2, 3)
    assert (one.first.inferer, one.second.inferer) == ("grnboost2", "random")
    assert one.difference == pytest.approx(statistics.fmean(means[0]) - statistics.fmean(means[1]))
    assert one.p == one.p_holm == pytest.approx(known.pvalue)
    half = stats.t.ppf(0.975, 2) * stats.sem(np.subtract(*means))
    assert (one.low, one.high) == (pytest.approx(one.difference - half), pytest.approx(one.difference + half))
    assert one.better.inferer == "grnboost2"
    assert one.is_beyond_chance == (known.pvalue < 0.05)
    assert found["mmd"].difference == pytest.approx(one.difference / 10)


def test_holm_over_the_pairs_of_each_metric_and_data_set():
    results = []
    for name, shift in {"a": 0.0, "b": 0.02, "c": 0.10, "random": 0.2}.items():
        results += runs(name, {seed: (0.6 + shift + RNG.normal(0, 0.01), 0.6 + shift) for seed in range(5)})
    results += [r for n in ("a", "random") for r in make_results(inferer=n, dataset="other")]
    found = [one for one in differences(summarise(results)) if one.dataset == "pbmc3k" and one.metric == "rf_auroc"]
    assert len(found) == 6
    corrected = by_hand_holm([one.p for one in found])
    assert [one.p_holm for one in found] == pytest.approx(corrected)
    assert any(one.p_holm > one.p for one in found)


def test_one_shared_seed_gives_a_difference_and_no_test_and_none_gives_nothing():
    rows = summarise(runs("a", {1: (0.6, 0.7)}) + runs("b", {1: (0.7, 0.9), 2: (0.5,)}))
    one = next(one for one in differences(rows) if one.metric == "rf_auroc")
    assert one.difference == pytest.approx(-0.15)
    assert (one.low, one.high, one.p, one.p_holm, one.is_beyond_chance) == (None, None, None, None, False)
    assert differences(summarise(runs("a", {1: (0.6,)}) + runs("b", {2: (0.7,)}))) == []


def test_the_very_same_difference_in_all_seeds_is_not_tested():
    rows = summarise(runs("a", {1: (1.0,), 2: (2.0,)}) + runs("b", {1: (2.0,), 2: (3.0,)}))
    found = {one.metric: one for one in differences(rows)}
    assert (found["rf_auroc"].difference, found["rf_auroc"].p) == (-1.0, None)
    assert (found["euclidean_distance"].difference, found["euclidean_distance"].p) == (0.0, 1.0)
    assert found["euclidean_distance"].better is None


def test_nearer_to_the_optimum_is_better_and_below_it_is_level():
    rows = summarise(runs("a", {1: (0.45, 0.47)}) + runs("b", {1: (0.49, 0.50)}))
    assert next(one for one in differences(rows) if one.metric == "rf_auroc").better is None


def test_collapsed_sets_take_no_part():
    good, bad = (0.0004, 110.0, 0.009, 0.63), (0.3, 5000.0, 0.9, 1.0)
    results = make_results("control", ((0.0, 100.0, 0.0, 0.5),))
    results += [*make_results(values=(good, bad), seed=1), *make_results(values=(good,), seed=2)]
    for seed in (1, 2):
        results += make_results(inferer="correlation", values=(good,), seed=seed)
        results += make_results(inferer="random", values=(bad,), seed=seed)
    found = differences(summarise(results))
    assert {(one.first.inferer, one.second.inferer) for one in found} == {("correlation", "grnboost2")}
    assert all(one.difference == 0 for one in found)
    assert "random" not in {one.row.inferer for one in intervals(summarise(results))}


def test_runs_against_baselines():
    found = differences_from(summarise(ALL), "stage1")
    assert {(one.first.kb, one.first.inferer) for one in found} == {
        ("human", "grnboost2"),
        ("human", "random"),
        ("gpt4", "random"),
    }
    one = next(one for one in found if one.metric == "rf_auroc" and one.first.inferer == "grnboost2")
    assert one.difference == pytest.approx(0.65 - 0.615)


def test_critical_t_is_that_of_the_tables():
    assert [round(critical_t(n), 2) for n in (2, 3, 5)] == [12.71, 4.30, 2.78]
    # two differences d1, d2: t = (d1 + d2) / |d1 - d2|
    d1, d2 = 1.0, 1.0 + 2 / critical_t(2) / (1 - 1 / critical_t(2))
    assert stats.ttest_1samp([d1, d2], 0).pvalue == pytest.approx(0.05)
    assert math.isclose(abs(d1 - d2) / ((d1 + d2) / 2), 2 / critical_t(2))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_holm_and_wilson_are_those_of_statsmodels(n):
    p_values = np.random.default_rng(n).random(n) ** 3
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert holm([0.02] * n) == pytest.approx([min(0.02 * n, 1)] * n)
    for counted in 0, 1, n:
        assert share_interval(counted, n) == pytest.approx(proportion_confint(counted, n, method="wilson"), abs=1e-12)


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []
