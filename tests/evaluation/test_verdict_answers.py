"""Each sentence of the answer against numbers made by hand, and its tests against scipy and statsmodels."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_by_hand import around, seeds_of
from scipy import stats
from statsmodels.stats.multitest import multipletests

from llm4grn.evaluation.scores.answers import DECISIVE, Answer, answers
from llm4grn.evaluation.scores.summary import summarise
from llm4grn.evaluation.scores.verdicts import verdicts

LLM = {"inferer": "llm", "llm": "claude"}
CONSENSUS = {"inferer": "consensus", "llm": "claude"}
MODEL = seeds_of(values=around(0.0127, 0.715), **LLM)
RANDOM = seeds_of("random", around(0.029, 0.846, 1))
BOOST = seeds_of("grnboost2", around(0.02, 0.8, 2))
NUMBER = re.compile(r"p (?:= (?:0|1)\.\d+|< 0\.001)(?: and (?:p )?(?:= |< )?\d\.\d+)?")


def first_of(results) -> Answer:
    return answers(summarise(results))[0]


def said(results) -> list[str]:
    return first_of(results).sentences()


def without_p(sentence: str) -> str:
    return NUMBER.sub("p", sentence)


def seed_values(results, metric: str) -> list[float]:
    return [result.value for result in results if result.metric == metric]


# ---- the language model and a random network


def test_a_model_clearly_better_than_random():
    (sentence,) = said([*MODEL, *RANDOM])
    assert without_p(sentence).startswith(
        "With the curated list of TFs, claude's network is closer to real cells than a random network on each of 4 "
        "seeds (MMD 0.0127 against 0.0290, RF AUROC 0.715 against 0.846; p"
    )
    assert sentence.endswith("p < 0.001 for both)")


def test_a_lead_on_more_seeds_by_one_metric_than_by_the_other_is_told_for_each():
    model = {seed: (0.01 + seed * 1e-4, 0.6 + seed * 1e-3) for seed in range(8)}
    random = {seed: (0.02 - seed * 1e-4, 0.7 + seed * 2e-3 if seed else 0.5999) for seed in range(8)}
    (sentence,) = said([*seeds_of(values=model, **LLM), *seeds_of("random", random)])
    assert "MMD 0.0103 against 0.0197, lower on each of 8 seeds, p < 0.001" in sentence
    assert "RF AUROC 0.603 against 0.694, lower on 7 of 8 seeds, p < 0.001" in sentence


def test_a_model_worse_than_random():
    (sentence,) = said([*seeds_of(values=around(0.035, 0.9), **LLM), *RANDOM])
    assert (
        "claude's network is farther from real cells than a random network on each of 4 seeds (MMD 0.0350" in sentence
    )


def test_p_values_are_those_of_the_paired_test():
    values = {1: (0.010, 0.70), 2: (0.012, 0.73), 3: (0.013, 0.71)}
    others = {1: (0.015, 0.76), 2: (0.0155, 0.77), 3: (0.017, 0.78)}
    model, random = seeds_of(values=values, **LLM), seeds_of("random", others)
    mmd, auroc = (stats.ttest_rel(seed_values(model, name), seed_values(random, name)).pvalue for name in DECISIVE)
    assert max(mmd, auroc) < 0.05
    assert (
        f"on each of 3 seeds (MMD 0.0117 against 0.0158, RF AUROC 0.713 against 0.770; p = {mmd:.3f} and {auroc:.3f})"
        in (said([*model, *random])[0])
    )


def test_without_a_random_network_the_answer_says_what_to_add():
    first, second = said([*MODEL, *BOOST])
    assert first == (
        "With the curated list of TFs, there is no random network of the same model and graph size to compare "
        "claude's network with; add inferer=random"
    )
    assert second.startswith("claude's network is closer to real cells than GRNBoost2's on each of 4 seeds")


@pytest.mark.parametrize("other", [{"graph": "top5"}, {"model": "paper"}, {"kb": "random"}, {"dataset": "bone_marrow"}])
def test_a_network_of_another_size_model_kb_or_data_set_is_never_the_yardstick(other):
    random = seeds_of("random", around(0.029, 0.846, 1), **other)
    boost = seeds_of("grnboost2", around(0.02, 0.8, 2), **other)
    consensus = seeds_of(values=around(0.01, 0.7, 2), **CONSENSUS, **other)
    (verdict,) = (one for one in verdicts(summarise([*MODEL, *random, *boost, *consensus])) if one.dataset == "pbmc3k")
    assert first_of([*MODEL, *random, *boost, *consensus] if "dataset" not in other else MODEL).pairs == []
    assert "against" not in " ".join(verdict.answer)


def test_a_stage_1_of_another_model_is_never_the_yardstick():
    other = seeds_of("", around(0.04, 0.9), source="stage1", model="paper")
    assert not any(line.startswith("Stage 1") for line in verdicts(summarise([*MODEL, *RANDOM, *other]))[0].details)
    own = seeds_of("", around(0.04, 0.9), source="stage1")
    lines = verdicts(summarise([*MODEL, *RANDOM, *other, *own]))[0].details
    assert any(line.startswith("Stage 1") and "better by MMD (0.0127 and 0.0400, p < 0.001)" in line for line in lines)


# ---- the language model and GRNBoost2


def test_a_model_level_with_grnboost2():
    boost = seeds_of("grnboost2", around(0.0126, 0.716, 2, spread=0.05))
    sentence = said([*MODEL, *RANDOM, *boost])[1]
    assert without_p(sentence) == (
        "claude's network cannot be told from GRNBoost2's with 4 seeds (MMD 0.0127 against 0.0126, higher on 2 of 4 "
        "seeds, p; RF AUROC 0.715 against 0.716, lower on 2 of 4 seeds, p)"
    )
    p = [stats.ttest_rel(seed_values(MODEL, name), seed_values(boost, name)).pvalue for name in DECISIVE]
    assert [f"p = {value:.2f}" for value in p] == re.findall(r"p = 0\.\d\d", sentence)  # the last of Holm's steps


def test_a_model_worse_than_grnboost2():
    boost = seeds_of("grnboost2", around(0.01, 0.65, 2))
    assert said([*MODEL, *RANDOM, *boost])[1].startswith(
        "claude's network is farther from real cells than GRNBoost2's on each of 4 seeds (MMD 0.0127 against 0.0100, "
        "RF AUROC 0.715 against 0.650; p"
    )


def test_metrics_that_disagree_are_both_told():
    boost = seeds_of("grnboost2", around(0.02, 0.65, 2))
    assert without_p(said([*MODEL, *RANDOM, *boost])[1]) == (
        "claude's network is closer to real cells than GRNBoost2's by MMD but is farther by RF AUROC (MMD 0.0127 "
        "against 0.0200, lower on each of 4 seeds, p; RF AUROC 0.715 against 0.650, higher on each of 4 seeds, p)"
    )
    unclear = seeds_of("grnboost2", {seed: (0.02, 0.715 + (-1) ** (seed // 1000) * 0.05) for seed in around(0, 0)})
    assert "by MMD but cannot be told from it by RF AUROC" in said([*MODEL, *RANDOM, *unclear])[1]


# ---- the consensus


@pytest.mark.parametrize(
    ("consensus", "words"),
    [
        (around(0.01, 0.65, 1), "beats both: it is closer to real cells than claude's on each of 4 seeds (MMD 0.0100"),
        (
            around(0.0127, 0.715, 1, 0.01),
            "beats only GRNBoost2's network: it cannot be told from claude's with 4 seeds",
        ),
        (
            around(0.02, 0.8, 1, 0.01),
            "is not shown to beat either: it is farther from real cells than claude's on each",
        ),
    ],
)
def test_the_consensus_beats_both_one_or_none(consensus, words):
    sentence = said([*MODEL, *RANDOM, *BOOST, *seeds_of(values=consensus, **CONSENSUS)])[2]
    assert sentence.startswith(f"The consensus network {words}")


def test_a_shared_verb_of_the_consensus_is_said_once():
    consensus = seeds_of(values=around(0.01, 0.65, 1), **CONSENSUS)
    sentence = said([*MODEL, *RANDOM, *BOOST, *consensus])[2]
    assert (
        "), and than GRNBoost2's on each of 4 seeds (MMD 0.0100 against 0.0200, RF AUROC 0.650 against 0.800"
        in sentence
    )


@pytest.mark.parametrize("llm", ["", "gpt4"])
def test_the_consensus_of_others_is_not_that_of_this_model(llm):
    other = seeds_of("consensus", around(0.01, 0.65, 1), llm=llm)
    assert len(said([*MODEL, *RANDOM, *BOOST, *other])) == 2


# ---- Holm


def test_holm_over_the_tests_of_the_answer_and_no_others():
    values = {
        "llm": {1: (0.0120, 0.71), 2: (0.0131, 0.70), 3: (0.0125, 0.73), 4: (0.0122, 0.72)},
        "random": {1: (0.0150, 0.75), 2: (0.0139, 0.74), 3: (0.0160, 0.76), 4: (0.0141, 0.72)},
        "grnboost2": {1: (0.0126, 0.72), 2: (0.0128, 0.72), 3: (0.0131, 0.72), 4: (0.0127, 0.73)},
        "consensus": {1: (0.0110, 0.70), 2: (0.0125, 0.69), 3: (0.0121, 0.70), 4: (0.0119, 0.71)},
    }
    llms = {"llm": "claude", "consensus": "claude"}
    results = {name: seeds_of(name, by_seed, llm=llms.get(name, "")) for name, by_seed in values.items()}
    others = [*seeds_of("pidc", around(0.02, 0.8)), *seeds_of("genie3", around(0.021, 0.8, 1))]
    found = first_of([*(one for part in results.values() for one in part), *others])
    pairs = [("llm", "random"), ("llm", "grnboost2"), ("consensus", "llm"), ("consensus", "grnboost2")]
    assert [(first.inferer, second.inferer) for first, second in found.pairs] == pairs
    for i, name in enumerate(DECISIVE):
        raw = [stats.ttest_rel(*(seed_values(results[one], name) for one in pair)).pvalue for pair in pairs]
        corrected = [tests[i].p_holm for tests in found.tests.values()]
        assert corrected == pytest.approx(list(multipletests(raw, method="holm")[1]))
        assert any(after > before for after, before in zip(corrected, raw, strict=True))


# ---- seeds


def test_one_seed_is_said_once_and_claims_nothing():
    alone = [one for one in [*MODEL, *RANDOM, *BOOST] if one.seed == 1000]
    first, second = said(alone)
    assert first == (
        "One seed: no test, so this may be chance: with the curated list of TFs, claude's network came closer to real "
        "cells than a random network (MMD 0.0127 against 0.0290; RF AUROC 0.716 against 0.847)"
    )
    assert second.startswith("claude's network came closer to real cells than GRNBoost2's (MMD")
    assert not re.search(r"p [=<]|beats|is closer|is farther", first + second)


def test_two_seeds_are_tested():
    two = [one for one in [*MODEL, *RANDOM] if one.seed in (1000, 2000)]
    assert "is closer to real cells than a random network on each of 2 seeds" in said(two)[0]
    wild = seeds_of("random", {1000: (0.0128, 0.716), 2000: (0.05, 0.95)})
    assert "cannot be told from a random network with 2 seeds" in said([*two[: len(two) // 2], *wild])[0]


def test_means_and_tests_are_over_the_shared_seeds():
    random = [one for one in RANDOM if one.seed != 4000] + seeds_of("random", {5000: (9.0, 1.0)})
    assert "on each of 3 shared seeds (MMD 0.0127 against 0.0290" in said([*MODEL, *random])[0]
    one = [one for one in RANDOM if one.seed == 4000]
    assert said([*MODEL, *one, *BOOST])[1].endswith(
        "; where only one seed is shared there is no test, so that may be chance"
    )
    none = seeds_of("random", {5000: (0.029, 0.846)})
    assert "claude's network shares no seed with a random network to be compared on" in said([*MODEL, *none])[0]


def test_the_very_same_difference_on_each_seed_is_not_tested():
    random = seeds_of("random", {result.seed: (0.5, 0.9) for result in MODEL})
    model = seeds_of(values={result.seed: (0.25, 0.7) for result in MODEL}, **LLM)
    assert said([*model, *random])[0].endswith(
        "came closer to real cells than a random network (MMD 0.2500 against 0.5000, lower on each of 4 seeds, no test "
        "as the difference is the very same on each; RF AUROC 0.700 against 0.900, lower on each of 4 seeds, no test "
        "as the difference is the very same on each)"
    )


def test_at_the_floor_networks_are_level():
    model = seeds_of(values=around(0.01, 0.45, 0), **LLM)
    random = seeds_of("random", around(0.01, 0.49, 1))
    assert "RF AUROC 0.450 against 0.490, level on each of 4 seeds" in said([*model, *random])[0]


# ---- which rows


def test_curated_tfs_come_first_and_other_kbs_follow():
    own = [
        *seeds_of(values=around(0.005, 0.6), kb="claude", **LLM),
        *seeds_of("random", around(0.028, 0.84, 1), kb="claude", llm="claude"),
    ]
    first, second = answers(summarise([*own, *MODEL, *RANDOM]))
    assert (first.subject.kb, second.subject.kb, second.random.kb) == ("human", "claude", "claude")
    assert second.sentences()[0].startswith("With TFs named by claude, claude's network is closer to real cells than a")
    assert [one.subject.kb for one in answers(summarise([*own, *RANDOM]))] == ["claude"]


def test_the_best_of_several_language_models_is_spoken_of():
    gpt4 = seeds_of("llm", around(0.012, 0.72), llm="gpt4")
    found = answers(summarise([*MODEL, *gpt4, *RANDOM, *BOOST]))
    assert [one.subject.llm for one in found] == ["gpt4", "claude"]
    details = verdicts(summarise([*MODEL, *gpt4, *RANDOM, *BOOST]))[0].details
    assert any(
        line.startswith("human / claude: With the curated list of TFs, claude's network is closer") for line in details
    )
    assert any(line.startswith("Choice: human / gpt4 was chosen") for line in details)


def test_a_network_that_has_a_random_one_beside_it_is_preferred():
    small = seeds_of(values=around(0.001, 0.6), graph="top5", **LLM)
    assert first_of([*MODEL, *small, *RANDOM]).subject.graph == "top10"


def test_without_a_language_model_the_best_method_is_compared_with_random_and_the_second():
    pidc = seeds_of("pidc", around(0.03, 0.85, 1, 0.002))
    first, second = said([*BOOST, *seeds_of("random", around(0.05, 0.95, 1)), *pidc])
    assert first.startswith("With the curated list of TFs, GRNBoost2's network is closer to real cells than a random")
    assert second.startswith("GRNBoost2's network is closer to real cells than PIDC's on each of 4 seeds")
    assert len(said([*BOOST, *RANDOM])) == 1


def test_a_collapsed_language_model_is_named_first():
    control = seeds_of("", around(0.005, 0.51), source="control")
    gone = seeds_of(values=dict.fromkeys((1000, 2000, 3000, 4000), (0.9, 1.0)), **LLM)
    (verdict,) = verdicts(summarise([*control, *gone, *BOOST, *RANDOM]))
    assert verdict.answer[0] == "Nothing can be said about claude's network: every set of generated cells collapsed."
    assert verdict.answer[1].startswith(
        "With the curated list of TFs, GRNBoost2's network is closer to real cells than"
    )
    some = seeds_of(values={**around(0.0127, 0.715), 1000: (0.9, 1.0)}, **LLM)
    (verdict,) = verdicts(summarise([*control, *some, *RANDOM]))
    assert "on each of 3 shared seeds" in verdict.answer[0]


# ---- whatever the rows are

SETTING = st.tuples(
    st.sampled_from(["human", "claude", "random"]),
    st.sampled_from(["llm", "consensus", "grnboost2", "pidc", "random"]),
    st.sampled_from(["claude", "gpt4", ""]),
    st.sampled_from(["top5", "top10"]),
)
SCORES = st.dictionaries(
    st.integers(1, 4), st.tuples(st.floats(0.001, 0.1), st.floats(0.45, 1)), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(SETTING, SCORES, min_size=1, max_size=7))
def test_at_most_three_sentences_and_no_claim_without_its_test(drawn):
    results = [
        one
        for (kb, inferer, llm, graph), values in drawn.items()
        for one in seeds_of(inferer, values, kb=kb, llm=llm, graph=graph)
    ]
    rows = summarise(results)
    (verdict,) = verdicts(rows)
    assert 1 <= len(verdict.answer) <= 3
    assert all(sentence.endswith(".") and not re.search(r"\. [A-Z]", sentence) for sentence in verdict.answer)
    for answer in answers(rows):
        assert len(answer.pairs) <= 4
        assert len({(row.kb, row.model, row.graph) for pair in answer.pairs for row in pair}) <= 1
        claims = [test for tests in answer.tests.values() for test in tests if test.is_beyond_chance and test.better]
        text = "; ".join(answer.sentences())
        assert bool(claims) == bool(re.search(r"\bis (closer|farther)\b", text))


UNEVEN = {1: (0.011, 0.70), 2: (0.012, 0.71), 3: (0.011, 0.72)}


@pytest.mark.parametrize(
    ("others", "told"),
    [
        # Better on each seed by both metrics, by a hair on the second, so that no test can be significant.
        (
            {1: (0.030, 0.90), 2: (0.0121, 0.711), 3: (0.020, 0.80)},
            "came closer to real cells, though not beyond chance, than a random network on each of 3 seeds (MMD 0.0113",
        ),
        (
            {1: (0.005, 0.60), 2: (0.0119, 0.709), 3: (0.008, 0.65)},
            "came less close to real cells, though not beyond chance, than a random network on each of 3 seeds (MMD",
        ),
        # One metric leans, the other does not.
        ({1: (0.030, 0.90), 2: (0.0121, 0.709), 3: (0.020, 0.80)}, "cannot be told from a random network with 3 seeds"),
        # Two seeds are too few to speak of a direction.
        ({1: (0.030, 0.90), 2: (0.0121, 0.711)}, "cannot be told from a random network with 2 "),
    ],
    ids=["closer on each", "farther on each", "one metric", "two seeds"],
)
def test_what_is_on_one_side_on_each_seed_but_not_significant_is_said_so(others, told):
    assert told in said([*seeds_of(values=UNEVEN, **LLM), *seeds_of("random", others)])[0]
