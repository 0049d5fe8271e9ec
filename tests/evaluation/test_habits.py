"""What a setting adds over its own shuffled graph: rows, columns and sentences, against numbers made by hand."""

import re

import pytest
from results_by_hand import around, make_results, seeds_of
from scipy import stats

from llm4grn.evaluation.scores.answers import answers
from llm4grn.evaluation.scores.controls import random_run, shuffled_run
from llm4grn.evaluation.scores.names import inferer_name
from llm4grn.evaluation.scores.statistical_tables import interval_table
from llm4grn.evaluation.scores.statistics import intervals
from llm4grn.evaluation.scores.summary import summarise
from llm4grn.evaluation.scores.tables import USELESS, scores_table
from llm4grn.evaluation.scores.verdicts import verdicts

MODEL = seeds_of("llm", around(0.012, 0.70), llm="claude")
RANDOM = seeds_of("random", around(0.028, 0.86, 1))
SHUFFLED = seeds_of("shuffled llm", around(0.024, 0.82, 2), llm="claude")
BOOST = seeds_of("grnboost2", around(0.014, 0.76, 1))
BOOST_SHUFFLED = seeds_of("shuffled grnboost2", around(0.025, 0.83, 2))
POPULAR = seeds_of("popular llm", around(0.026, 0.84, 2), llm="claude")
EVERYTHING = [*MODEL, *RANDOM, *SHUFFLED, *BOOST, *BOOST_SHUFFLED, *POPULAR]


def row(rows, inferer, **labels):
    (found,) = [
        one for one in rows if one.inferer == inferer and all(getattr(one, name) == of for name, of in labels.items())
    ]
    return found


def told(results) -> tuple[str, ...]:
    return answers(summarise(results))[0].sentences()


def detail(results, lead: str) -> list[str]:
    return [line for line in verdicts(summarise(results))[0].details if line.startswith(lead)]


def seed_values(results, metric):
    return [result.value for result in results if result.metric == metric]


# ---- which row is whose


def test_each_setting_has_its_own_shuffled_graph():
    rows = summarise([*EVERYTHING, *seeds_of("consensus", around(0.01, 0.7), llm="claude")])
    of = {one.inferer: shuffled_run(one, rows) for one in rows}
    assert of["llm"] is row(rows, "shuffled llm")
    assert of["grnboost2"] is row(rows, "shuffled grnboost2")
    assert [of[name] for name in ("consensus", "random", "shuffled llm", "popular llm")] == [None] * 4
    assert all(random_run(one, rows) is row(rows, "random") for one in rows)


@pytest.mark.parametrize(
    "other", [{"graph": "top5"}, {"model": "paper"}, {"kb": "claude"}, {"llm": "gpt4"}, {"dataset": "bone_marrow"}]
)
def test_a_shuffled_graph_of_another_setting_is_never_the_yardstick(other):
    labels = {"llm": "claude", **other}
    rows = summarise([*MODEL, *RANDOM, *seeds_of("shuffled llm", around(0.024, 0.82, 2), **labels)])
    assert shuffled_run(row(rows, "llm"), rows) is None


def test_several_shuffled_networks_do_not_share_a_row():
    gpt4 = seeds_of("shuffled llm", around(0.02, 0.8), llm="gpt4")
    rows = summarise([*EVERYTHING, *gpt4])
    assert [inferer_name(one) for one in rows if one.inferer.startswith("shuffled")] == [
        "shuffled grnboost2",
        "shuffled claude",
        "shuffled gpt4",
    ]


# ---- tables


def test_controls_are_useless_methods_at_the_end_of_the_table():
    table = scores_table(summarise(EVERYTHING))
    names = [(cells[3], cells[4]) for cells in table.rows]
    assert names == [
        ("claude", ""),
        ("grnboost2", ""),
        ("popular claude", USELESS),
        ("shuffled grnboost2", USELESS),
        ("shuffled claude", USELESS),
        ("random", USELESS),
    ]
    note = next(note for note in table.notes if note.startswith("Useless method"))
    assert all(words in note for words in ("drawn at random", "dealt out to other targets", "names most"))
    alone = scores_table(summarise([*MODEL, *RANDOM])).notes
    assert not any("dealt out" in note for note in alone)


def test_intervals_have_the_mean_of_the_own_shuffled_graph():
    found = {one.row.inferer: one for one in intervals(summarise(EVERYTHING)) if one.metric == "mmd"}
    assert found["llm"].shuffled == pytest.approx(0.024)
    assert found["grnboost2"].shuffled == pytest.approx(0.025)
    assert found["shuffled llm"].shuffled is found["random"].shuffled is None
    table = interval_table(list(found.values()), 0)
    assert table.header[-5:] == ["Useless", "Shuffled", "Share", "Seeds", "n"]
    without = interval_table(intervals(summarise([*MODEL, *RANDOM])), 0)
    assert "Shuffled" not in without.header


# ---- the answer


def test_the_first_sentence_says_what_the_model_adds_over_its_own_lists():
    (sentence,) = told([*MODEL, *RANDOM, *SHUFFLED])
    assert sentence.startswith(
        "With the curated list of TFs, claude's network is closer to real cells than a random network on each of 4 "
        "seeds (MMD 0.0120 against 0.0280, RF AUROC 0.700 against 0.860; p < 0.001 for both), and than its own lists "
        "dealt out to other targets on each of 4 seeds (MMD 0.0120 against 0.0240, RF AUROC 0.700 against 0.820; p "
    )


def test_a_network_that_is_habit_alone_is_told_so():
    own = seeds_of("shuffled llm", around(0.0121, 0.701, 2, spread=0.05), llm="claude")
    (sentence,) = told([*MODEL, *RANDOM, *own])
    assert ", but cannot be told from its own lists dealt out to other targets with 4 seeds (MMD 0.0120" in sentence
    p = [stats.ttest_rel(seed_values(MODEL, name), seed_values(own, name)).pvalue for name in ("mmd", "rf_auroc")]
    assert [f"p = {value:.2f}" for value in p] == re.findall(r"p = 0\.\d\d", sentence)  # the last of Holm's steps


def test_without_a_random_network_the_own_lists_are_compared():
    (sentence,) = told([*MODEL, *SHUFFLED])
    assert sentence.startswith(
        "With the curated list of TFs, claude's network is closer to real cells than its own lists dealt out to other"
    )
    assert sentence.endswith(
        "there is no random network of the same model and graph size to compare it with; add inferer=random"
    )


def test_the_answer_stays_at_three_sentences_and_five_comparisons():
    consensus = seeds_of("consensus", around(0.011, 0.69), llm="claude")
    results = [*EVERYTHING, *consensus]
    (main,) = answers(summarise(results))
    assert [(first.inferer, second.inferer) for first, second in main.pairs] == [
        ("llm", "random"),
        ("llm", "shuffled llm"),
        ("llm", "grnboost2"),
        ("consensus", "llm"),
        ("consensus", "grnboost2"),
    ]
    assert len(verdicts(summarise(results))[0].answer) == 3


def test_controls_are_never_the_subject_nor_the_rival():
    (main,) = answers(summarise([*BOOST, *BOOST_SHUFFLED, *SHUFFLED, *POPULAR, *RANDOM]))
    assert (main.subject.inferer, main.shuffled.inferer, main.rival) == ("grnboost2", "shuffled grnboost2", None)
    assert verdicts(summarise([*SHUFFLED, *RANDOM]))[0].answer == (
        "No verdict: every network is a control; add inferer=llm or inferer=grnboost2.",
    )


# ---- the evidence below it


def test_the_share_that_is_habit():
    (line,) = detail(EVERYTHING, "Habit")
    assert "go 25 % by MMD and 25 % by RF AUROC of the way from the random network to it" in line  # 4/16, 4/16
    assert not detail([*MODEL, *RANDOM], "Habit")
    worse = seeds_of("llm", around(0.03, 0.80), llm="claude")
    (line,) = detail([*worse, *RANDOM, *SHUFFLED], "Habit")
    assert "MMD" not in line  # no better than random by it


def test_other_settings_are_compared_with_their_own_lists():
    lines = detail(EVERYTHING, "Over its own lists")
    assert len(lines) == 1
    assert lines[0].startswith(
        "Over its own lists dealt out to other targets, human / grnboost2 is better by MMD (0.0140 and 0.0250, p < "
        "0.001) and RF AUROC (0.760 and 0.830, p < 0.001)."
    )


def test_a_missing_shuffled_network_is_named_with_what_to_type():
    (line,) = detail([*MODEL, *RANDOM, *BOOST], "Missing")
    assert line.endswith("add inferer=shuffled.")
    assert not detail(EVERYTHING, "Missing")


def test_a_collapsed_shuffled_network_is_no_yardstick():
    control = make_results("control", ((0.0002, 100.0, 0.005, 0.49),))
    gone = seeds_of("shuffled llm", dict.fromkeys((1000, 2000, 3000, 4000), (0.9, 1.0)), llm="claude")
    rows = summarise([*control, *MODEL, *gone])
    assert row(rows, "shuffled llm").failed
    assert shuffled_run(row(rows, "llm"), rows) is None
