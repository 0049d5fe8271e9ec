"""Words against tests computed here with scipy, and against what each case may and may not say."""

from itertools import combinations

import numpy as np
import pytest
from results_by_hand import make_results
from scipy import stats

from llm4grn.evaluation.scores.results import Result
from llm4grn.evaluation.scores.summary import summarise
from llm4grn.evaluation.scores.verdicts import Verdict, verdicts

SEEDS = (1000, 2000, 3000, 4000)
CLAIM = "by more than chance"


def runs(inferer: str, values: dict[int, tuple[float, float]], **labels) -> list[Result]:
    """One sample per seed with MMD and RF AUROC; the distances follow the MMD."""
    return [
        result
        for seed, (mmd, auroc) in values.items()
        for result in make_results(values=((mmd / 10, mmd * 1e4, mmd, auroc),), inferer=inferer, seed=seed, **labels)
    ]


def around(mmd: float, auroc: float, spread: float = 0.002, seeds=SEEDS) -> dict[int, tuple[float, float]]:
    """Values near a mean in the same pattern for all, so that pairs differ by almost a constant."""
    steps = np.linspace(-1, 1, len(seeds)) * spread
    return {seed: (mmd * (1 + step), auroc * (1 + step)) for seed, step in zip(seeds, steps, strict=True)}


def only(results: list[Result]) -> Verdict:
    (verdict,) = verdicts(summarise(results))
    return verdict


def said(verdict: Verdict) -> str:
    return " ".join([verdict.headline, *verdict.details]).replace("\N{NO-BREAK SPACE}", " ")


CONTROL = runs("", around(0.005, 0.51), source="control")
STAGE1 = runs("", around(0.012, 0.70), source="stage1")


def test_a_clear_winner_is_called_one():
    verdict = only([*CONTROL, *STAGE1, *runs("grnboost2", around(0.01, 0.65)), *runs("random", around(0.02, 0.9))])
    assert verdict.dataset == "pbmc3k"
    assert verdict.headline.startswith(
        "Of the 2 settings, human / grnboost2 comes closest to real cells by RF AUROC and"
    )
    assert verdict.headline.endswith(f"{CLAIM}.")
    details = dict(detail.split(": ", 1) for detail in verdict.details if ": " in detail)
    assert details["Against a random graph (human / random)"].startswith("better by RF AUROC (0.650 and 0.900, p")
    assert details["Against stage 1, the GAN without a graph"].startswith("better by RF AUROC")
    control = details["Against the control, real cells in the place of generated ones"]
    assert control.startswith("worse by RF AUROC")
    # (0.9 - 0.65) / (0.9 - 0.51) and (0.02 - 0.01) / (0.02 - 0.005)
    assert control.endswith("Of the way from the random graph to the control it goes 64 % by RF AUROC and 67 % by MMD.")


NAMES = ("correlation", "grnboost2", "pidc")


def drawn(trial: int) -> tuple[dict[str, np.ndarray], str]:
    """RF AUROC of three settings by seed, drawn so that leads are now clear, now not; and the headline about them."""
    rng = np.random.default_rng(trial)
    auroc = {name: rng.normal(mean, 0.02, size=4) for name, mean in zip(NAMES, rng.normal(0.75, 0.02, 3), strict=True)}
    results = [
        result
        for name in NAMES
        for result in runs(name, {seed: (0.01, value) for seed, value in zip(SEEDS, auroc[name], strict=True)})
        if result.metric == "rf_auroc"
    ]
    return auroc, only(results).headline


@pytest.mark.parametrize("trial", range(20))
def test_a_claim_is_made_if_and_only_if_the_paired_tests_allow_it(trial):
    auroc, headline = drawn(trial)
    p = sorted((stats.ttest_rel(auroc[a], auroc[b]).pvalue, a, b) for a, b in combinations(NAMES, 2))
    holm, so_far = {}, 0.0
    for rank, (value, *pair) in enumerate(p):
        so_far = max(so_far, min(1.0, value * (len(p) - rank)))
        holm[frozenset(pair)] = so_far
    best = min(NAMES, key=lambda name: auroc[name].mean())
    beaten = sum(holm[frozenset({best, other})] < 0.05 for other in NAMES if other != best)
    expected = {
        0: "but no lead is larger than chance.",
        1: f"{CLAIM} against 1 of 2 others by RF AUROC.",
        2: f"{CLAIM}.",
    }
    assert f"human / {best} comes closest" in headline
    assert headline.endswith(expected[beaten])


def test_the_trials_above_hold_every_outcome():
    assert len({drawn(trial)[1].rpartition(",")[2] for trial in range(20)}) == 3


def test_one_seed_allows_no_claim():
    alone = (1000,)
    verdict = only(
        [
            *runs("", around(0.005, 0.51, seeds=alone), source="control"),
            *runs("grnboost2", around(0.01, 0.65, seeds=alone)),
            *runs("random", around(0.02, 0.9, seeds=alone)),
        ]
    )
    assert "nothing tells the lead from chance" in verdict.headline
    assert "better in the mean, untested, by RF AUROC" in said(verdict)
    assert "One seed has no spread between trainings: run more of human / grnboost2 and human / random" in said(verdict)
    assert "p =" not in said(verdict)


def test_metrics_that_disagree_are_both_named():
    verdict = only([*runs("grnboost2", around(0.02, 0.65)), *runs("correlation", around(0.01, 0.8))])
    assert verdict.headline.startswith("RF AUROC puts human / grnboost2 first and MMD puts human / correlation first")
    assert "There is no random graph among the runs" in said(verdict)


def test_a_random_graph_that_wins_is_told():
    verdict = only([*CONTROL, *runs("grnboost2", around(0.02, 0.8)), *runs("random", around(0.01, 0.7))])
    assert "human / random comes closest" in verdict.headline
    assert "human / random is a random graph: no graph that a method drew did better here." in verdict.details
    assert "Of the way" not in said(verdict)


def test_one_setting_is_ranked_against_nothing():
    verdict = only([*CONTROL, *STAGE1, *runs("grnboost2", around(0.01, 0.65))])
    assert verdict.headline == "One setting only, human / grnboost2: there is nothing to rank it against."
    assert "Against stage 1, the GAN without a graph: better" in said(verdict)


def test_level_with_stage_1_is_not_better():
    noisy = {seed: (0.012, 0.70 + shift) for seed, shift in zip(SEEDS, (0.03, -0.04, 0.02, -0.02), strict=True)}
    verdict = only([*STAGE1, *runs("grnboost2", noisy), *runs("random", around(0.02, 0.9))])
    (line,) = [detail for detail in verdict.details if detail.startswith("Against stage 1")]
    assert "not separated by RF AUROC" in line
    assert "better" not in line


def test_collapsed_sets_are_named_and_take_no_part():
    collapsed = {**around(0.001, 0.5), 1000: (0.9, 1.0)}  # its Euclidean distance is 9000, the control's 50
    gone = {seed: (0.9, 1.0) for seed in SEEDS}
    verdict = only([*CONTROL, *runs("grnboost2", collapsed), *runs("pidc", gone), *runs("random", around(0.02, 0.9))])
    assert "Of the 2 settings, human / grnboost2" in verdict.headline
    assert "human / grnboost2: 1 of 4 sets of cells collapsed (seed 1000;" in said(verdict)
    assert "human / pidc: 4 of 4 sets of cells collapsed (seed 1000, 2000, 3000, 4000;" in said(verdict)
    everything = only([*CONTROL, *runs("pidc", gone)])
    assert everything.headline.startswith("No verdict: every run collapsed")


def test_no_verdict_without_the_metrics_that_count():
    distances = [result for result in runs("grnboost2", around(0.01, 0.6)) if result.metric == "cosine_distance"]
    assert only(distances).headline == "No verdict: no two settings were scored by RF AUROC and MMD."


def test_each_data_set_has_a_verdict_of_its_own():
    here, there = runs("grnboost2", around(0.01, 0.6)), runs("random", around(0.02, 0.9), dataset="bone_marrow")
    assert [verdict.dataset for verdict in verdicts(summarise([*here, *there]))] == ["bone_marrow", "pbmc3k"]


def test_few_seeds_come_with_a_caution():
    few, many = (1000, 2000), tuple(range(8))
    for seeds, cautious in ((few, True), (many, False)):
        results = [*runs("pidc", around(0.01, 0.6, seeds=seeds)), *runs("random", around(0.02, 0.9, seeds=seeds))]
        assert ("standard errors" in said(only(results))) == cautious
        assert f"paired t over {len(seeds)} seeds" in said(only(results))
