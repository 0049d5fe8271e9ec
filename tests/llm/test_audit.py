"""The audit against figures that were counted by hand."""

import pytest

from llm4grn.llm.audit import audit, audit_table, audit_text
from llm4grn.llm.messages import Reply
from llm4grn.llm.parsing.answers import Answer
from llm4grn.llm.questions import Interview, Question

GENES = ["SPI1", "GATA1", "JUN", "CD3D", "ACTB"]


def interview(answers, replies, usable=True):
    question = Question("x", [], read=lambda text: answers, complaint=lambda answers: None)
    return Interview(question, answers, tuple(replies), usable)


INTERVIEWS = [
    # at once
    interview({"CD3D": Answer(("SPI1", "JUN"), found=True)}, [Reply("", 100, 10, 0.5, "stop", 0.01)]),
    # repaired: the first reply counts for the bill only; ACTB is a gene, but was not offered; FOXQ9 is none
    interview(
        {"ACTB": Answer(("GATA1",), ("actb", "FOXQ9"), ("GATA1",), True)},
        [Reply("", 100, 20, 1.5, "length", 0.02), Reply("", 150, 30, 1.0, "stop", 0.03)],
    ),
    # never usable; two targets in one question
    interview(
        {"CD3E": Answer((), ("FOXQ9", "ABC"), (), True), "CD3G": Answer()},
        [Reply("", 1, 2, 1.0, "length", 0.0), Reply("", 3, 4, 1.0, "length", 0.0), Reply("", 5, 6, 1.0)],
        usable=False,
    ),
]
FIGURES = {
    "questions": 3,
    "requests": 6,
    "repaired": 1,
    "unusable": 1,
    "named": 3,
    "refused": 1,
    "invented": 3,
    "repeated": 1,
    "truncated": 3,
    "prompt_tokens": 359,
    "completion_tokens": 72,
    "cost": 0.06,
    "latency": 1.0,
    "examples": ["ABC", "FOXQ9"],
}


def test_the_figures_are_those_counted_by_hand():
    assert audit(INTERVIEWS, GENES) == FIGURES


def test_an_interview_without_questions_has_an_audit_too():
    empty = audit([], GENES)
    assert empty.pop("examples") == []
    assert set(empty.values()) == {0}


def test_what_was_not_recorded_is_not_taken_for_nothing():
    recorded, bare = Reply("", 100, 10, 0.5, "stop", 0.01), Reply("")
    answers = {"CD3D": Answer(("SPI1",), found=True)}
    taken = ("prompt_tokens", "completion_tokens", "latency", "cost")
    mixed = audit([interview(answers, [recorded]), interview(answers, [bare])], GENES)
    assert [mixed[name] for name in taken] == [100, 10, 0.5, 0.01]
    unknown = audit([interview(answers, [bare])], GENES)
    assert [unknown[name] for name in taken] == [None] * 4
    assert (unknown["requests"], unknown["truncated"]) == (1, 0)
    for label in "prompt tokens", "completion tokens", "cost, US dollars", "seconds per request, mean":
        assert f"\n  {label:48} not recorded\n" in f"{audit_text({'regulators': unknown})}"
        assert f"\n| {label} | not recorded |" in audit_table({"regulators": unknown})


def test_ten_examples_are_enough():
    names = [f"NOGENE{i:02}" for i in range(30)]
    figures = audit([interview({"CD3D": Answer((), tuple(names), (), True)}, [Reply("")])], GENES)
    assert figures["invented"] == 30
    assert figures["examples"] == names[:10]


def test_each_figure_is_one_aligned_line():
    figures = {**FIGURES, "targets": 4, "targets_short_of_k": 2, "targets_drawn_at_random": 1}
    heading, *numbers, examples = audit_text({"regulators": figures}).removesuffix("\n\n").split("\n")
    assert heading == "Audit of the language model, regulators:"
    assert len(numbers) + 1 == len(figures)
    assert examples.split()[-2:] == ["ABC,", "FOXQ9"]
    assert {len(line) for line in numbers} == {63}
    for label, value in [("answers repaired", "1"), ("targets short of k", "2"), ("cost, US dollars", "0.06")]:
        (line,) = [line for line in numbers if line.startswith(f"  {label}  ")]
        assert line.split()[-1] == value


@pytest.mark.parametrize("figures", [{"questions": 2}, {"questions": 2, "examples": []}])
def test_what_was_not_counted_has_no_line(figures):
    stage = f"Audit of the language model, x:\n  questions{'2':>52}\n\n"
    assert audit_text({"x": figures, "y": figures}) == stage + stage.replace("x:", "y:")
    assert audit_text({}) == ""


@pytest.mark.parametrize(("written", "kind"), [("Actb", "refused"), ("ACTB", "refused"), ("Actc", "invented")])
def test_a_gene_of_the_data_is_refused_in_any_case_and_what_is_none_is_invented(written, kind):
    figures = audit([interview({"Cd3d": Answer((), (written,), (), True)}, [Reply("")])], ["Spi1", "Actb"])
    assert {name: figures[name] for name in ("refused", "invented")} == {"refused": 0, "invented": 0} | {kind: 1}


def test_the_table_has_a_column_for_each_stage_and_a_row_for_each_figure():
    regulators = {**FIGURES, "targets": 4, "targets_short_of_k": 2, "targets_drawn_at_random": 1}
    heading, rule, *rows = audit_table({"transcription factors": FIGURES, "regulators": regulators}).split("\n")
    assert heading == "|  | transcription factors | regulators |"
    assert rule == "|---|---:|---:|"
    cells = {label: values for label, *values in (row.strip("| ").split(" | ") for row in rows)}
    assert len(cells) == len(regulators)
    assert cells["answers repaired"] == ["1", "1"]
    assert cells["targets short of k"] == ["", "2"]
    assert cells["symbols invented (no genes of this data set)"] == ["3", "3"]
    assert cells["invented, for instance"] == ["ABC, FOXQ9", "ABC, FOXQ9"]
    assert audit_table({}) == ""


def test_what_a_model_invents_does_not_break_the_table():
    table = audit_table({"regulators": {"questions": 1, "examples": ["A|B", "a\n| c", "<b>", "[x](y)", "`z`"]}})
    assert table.split("\n")[-1] == (r"| invented, for instance | A\|B, a \| c, \<b\>, \[x\](y), \`z\` |")


def test_what_only_some_servers_state_is_shown_where_they_do():
    replies = [
        Reply("", cached_tokens=8, reasoning_tokens=100, lost=0.5, served_model="m-2025", adapted="without seed"),
        Reply("", finish_reason="content_filter"),
    ]
    figures = audit([interview({"CD3D": Answer()}, replies)], GENES)
    stated = {"declined": 1, "cached_tokens": 8, "reasoning_tokens": 100, "lost": 0.5}
    assert {name: figures[name] for name in stated} == stated
    text, shown = audit_text({"x": figures}), audit_table({"x": figures})
    assert f"\n  {'attempts without an answer, US dollars at most':48} {'0.5':>12}\n" in text
    assert f"\n  {'answered by':48} m-2025\n" in text
    assert "| asked | without seed |" in shown
    assert not audit([interview({"CD3D": Answer()}, [Reply("")])], GENES).keys() & {*stated, "served_models", "adapted"}
