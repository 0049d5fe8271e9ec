"""The cases without an answer, and what an answer rests on; its sentences are in test_answers.py."""

import re

import pytest
from results_by_hand import around, seeds_of
from scipy import stats

from llm4grn.evaluation.scores.summary import summarise
from llm4grn.evaluation.scores.verdicts import Verdict, text_of, verdicts

CONTROL = seeds_of("", around(0.005, 0.51), source="control")
STAGE1 = seeds_of("", around(0.012, 0.70, 1), source="stage1")
BOOST = seeds_of("grnboost2", around(0.01, 0.65, 2))
RANDOM = seeds_of("random", around(0.02, 0.9))
GONE = dict.fromkeys((1000, 2000, 3000, 4000), (0.9, 1.0))  # a Euclidean distance of 9000, the control's is 50

STAGE1_LEAD = "Stage 1, the GAN without a graph"
CONTROL_LEAD = "The control, real cells in the place of generated ones"


def only(results) -> Verdict:
    (verdict,) = verdicts(summarise(results))
    return verdict


def about(verdict: Verdict, lead: str) -> str:
    (line,) = [line for line in verdict.details if line.startswith(f"{lead}: ")]
    return line.removeprefix(f"{lead}: ")


# ---- without an answer


def test_one_setting_is_compared_with_nothing():
    verdict = only([*CONTROL, *STAGE1, *BOOST])
    assert verdict.answer == ("One setting only, human / grnboost2: there is nothing to compare it with.",)
    assert "human / grnboost2 is better by MMD" in about(verdict, STAGE1_LEAD)
    assert not [line for line in verdict.details if "owest mean" in line]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (CONTROL, "there is no run among the results"),
        ([*CONTROL, *seeds_of("pidc", GONE)], "every run collapsed, so the numbers say nothing about the graphs"),
        ([one for one in [*BOOST, *RANDOM] if "distance" in one.metric], "no run was scored by MMD and RF AUROC"),
        ([*RANDOM, *seeds_of("random", around(0.02, 0.9), kb="random")], "every network is a random one"),
    ],
)
def test_no_verdict_says_why(results, words):
    (sentence,) = only(results).answer
    assert sentence.startswith(f"No verdict: {words}")


def test_each_data_set_has_a_verdict_of_its_own():
    there = seeds_of("random", around(0.02, 0.9), dataset="bone_marrow")
    assert [one.dataset for one in verdicts(summarise([*BOOST, *there]))] == ["bone_marrow", "pbmc3k"]


def test_text_for_a_terminal_has_the_answer_and_on_request_the_rest():
    found = [Verdict("a", ("One.", "Two " + "long " * 30 + "end."), ("Because: of this.",)), Verdict("b", ("Three.",))]
    short, full = text_of(found), text_of(found, details=True)
    assert short.splitlines()[:2] == ["a:", "One."]
    assert short.endswith("end.\nb:\nThree.")
    assert max(map(len, short.splitlines())) <= 100
    assert "  - Because: of this.\nb:" in full
    assert "Because" not in short


# ---- what it rests on


def test_what_is_compared_is_named():
    llm = seeds_of("llm", around(0.01, 0.6), llm="claude")
    assert about(only([*llm, *BOOST, *RANDOM]), "Compared") == (
        "human / claude with human / random and human / grnboost2, of the same TFs, model and graph size."
    )
    assert "add inferer=grnboost2" in about(only([*llm, *RANDOM]), "Missing")
    assert not any(line.startswith("Choice") for line in only([*llm, *BOOST, *RANDOM]).details)
    assert "human / grnboost2" in about(only([*BOOST, *seeds_of("pidc", around(0.03, 0.9))]), "Choice")


def test_stage_1_and_control_with_their_tests_and_the_way_between_random_and_control():
    verdict = only([*CONTROL, *STAGE1, *BOOST, *RANDOM])
    assert about(verdict, STAGE1_LEAD).startswith(
        "compared with it, human / grnboost2 is better by MMD (0.0100 and 0.0120, p < 0.001) and RF AUROC (0.650 and"
    )
    control = about(verdict, CONTROL_LEAD)
    assert "is worse by MMD (0.0100 and 0.0050, p < 0.001)" in control
    # (0.02 - 0.01) / (0.02 - 0.005) and (0.9 - 0.65) / (0.9 - 0.51)
    assert control.endswith(
        "It goes 67 % by MMD and 64 % by RF AUROC of the way from the random network to the control."
    )


def test_the_control_is_not_corrected_and_stage_1_is():
    values = {1: (0.0101, 0.60), 2: (0.0119, 0.61), 3: (0.0109, 0.66), 4: (0.0128, 0.62)}
    base = {1: (0.0100, 0.59), 2: (0.0111, 0.60), 3: (0.0109, 0.63), 4: (0.0118, 0.61)}
    run = seeds_of("grnboost2", values)
    worse = seeds_of("random", {1: (0.05, 0.9), 2: (0.01, 0.8), 3: (0.02, 0.95), 4: (0.015, 0.7)})
    p, p_worse = (stats.ttest_rel(mmd_of(one), mmd_of(seeds_of("", base))).pvalue for one in (run, worse))
    assert p < p_worse
    sources = [one for source in ("control", "stage1") for one in seeds_of("", base, source=source)]
    verdict = only([*sources, *run, *worse])
    assert f"MMD (0.0114 and 0.0109, p = {p:.2f})" in about(verdict, CONTROL_LEAD)
    assert f"MMD (0.0114 and 0.0109, p = {2 * p:.2f})" in about(verdict, STAGE1_LEAD)


def mmd_of(results) -> list[float]:
    return [one.value for one in results if one.metric == "mmd"]


def test_level_with_stage_1_is_not_better():
    noisy = {1000: (0.0125, 0.73), 2000: (0.0115, 0.66), 3000: (0.0125, 0.72), 4000: (0.0115, 0.68)}
    line = about(only([*STAGE1, *seeds_of("grnboost2", noisy), *RANDOM]), STAGE1_LEAD)
    assert "is not told apart by MMD" in line
    assert "better" not in line


def test_lowest_means_and_distances_are_told_without_a_claim():
    verdict = only([*BOOST, *RANDOM, *seeds_of("pidc", around(0.005, 0.7))])
    lead = "Lowest means of the 3 settings"
    assert about(verdict, lead) == "human / pidc by MMD, human / grnboost2 by RF AUROC."
    lead = "Distances of mean cells, which hardly separate networks and do not count"
    assert about(verdict, lead) == "human / pidc by Cosine distance and Euclidean distance."


def test_lowest_means_of_two_and_of_settings_that_are_level():
    assert about(only([*BOOST, *RANDOM]), "Lowest means of the 2 settings").startswith("human / grnboost2 by MMD")
    level = only([*BOOST, *seeds_of("pidc", around(0.01, 0.65, 2))])
    assert not [line for line in level.details if line.startswith(("Lowest means", "Distances of mean cells"))]


def test_a_baseline_that_is_not_there_is_not_spoken_of():
    for results, absent in ([*BOOST, *RANDOM, *CONTROL], STAGE1_LEAD), ([*BOOST, *RANDOM, *STAGE1], CONTROL_LEAD):
        details = only(results).details
        assert sum(line.startswith((STAGE1_LEAD, CONTROL_LEAD)) for line in details) == 1
        assert not [line for line in details if line.startswith(absent)]


def test_tests_are_named_with_what_few_seeds_can_show():
    llm = seeds_of("llm", around(0.01, 0.6), llm="claude")
    line = about(only([*llm, *BOOST, *RANDOM]), "Tests")
    assert line.startswith("paired t-tests over 4 seeds, two-sided, at 5%.")
    assert "Holm's method, per metric over the 2 comparisons that the answer makes" in line
    assert f"only differences above {stats.t.ppf(0.975, 3):.1f} standard errors show" in line
    for n_seeds in 5, 6:
        many = [
            one
            for inferer, mean in (("pidc", 0.01), ("random", 0.02))
            for one in seeds_of(inferer, {seed: (mean * (1 + seed % 3 / 9), 0.6 + mean) for seed in range(n_seeds)})
        ]
        assert "standard errors" not in about(only(many), "Tests")


def test_what_the_network_of_a_language_model_was_not_compared_with_is_asked_for():
    llm = seeds_of("llm", around(0.01, 0.6), llm="claude")
    dealt_out = seeds_of("shuffled llm", around(0.015, 0.7), llm="claude")
    assert re.findall(r"inferer=(\w+)", about(only([*llm, *RANDOM]), "Missing")) == ["grnboost2", "shuffled"]
    assert re.findall(r"inferer=(\w+)", about(only([*llm, *RANDOM, *BOOST]), "Missing")) == ["shuffled"]
    assert re.findall(r"inferer=(\w+)", about(only([*llm, *RANDOM, *dealt_out]), "Missing")) == ["grnboost2"]
    assert not [line for line in only([*llm, *RANDOM, *BOOST, *dealt_out]).details if line.startswith("Missing")]


def test_one_seed_has_no_tests_and_is_told():
    alone = [one for one in [*CONTROL, *STAGE1, *BOOST, *RANDOM] if one.seed == 1000]
    verdict = only(alone)
    assert about(verdict, "One seed only").startswith("all settings; run more")
    assert "better in the mean, without a test, by MMD" in about(verdict, STAGE1_LEAD)
    assert not any("p =" in line or line.startswith("Tests") for line in verdict.details)
    some = only([*(one for one in BOOST if one.seed == 1000), *RANDOM])
    assert about(some, "One seed only").startswith("human / grnboost2; run more")


def test_collapsed_sets_and_unlike_runs_are_named():
    partly = seeds_of("grnboost2", {**around(0.01, 0.65), 1000: (0.9, 1.0)})
    verdict = only([*CONTROL, *partly, *seeds_of("pidc", GONE), *RANDOM, *seeds_of("random", {1000: (0.3, 0.9)})])
    collapsed = [line for line in verdict.details if line.startswith("Collapsed")]
    assert collapsed[0].startswith("Collapsed: 1 of 4 sets of cells of human / grnboost2 (seed 1000;")
    assert collapsed[1].startswith("Collapsed: 4 of 4 sets of cells of human / pidc (seed 1000, 2000, 3000, 4000;")
    assert "pidc" not in " ".join(verdict.answer).lower()
    twice = only([*BOOST, *RANDOM, *seeds_of("random", {1000: (0.021, 0.9)})])
    assert about(twice, "Unlike runs") == "human / random has different values for the same seed and sample."
