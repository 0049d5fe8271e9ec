"""The parser of answers: what models really write, and what no text may make it do."""

import random
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4grn.llm.parsing.answers import Answer, parse_answer
from llm4grn.llm.parsing.answers_by_target import parse_answers

AWKWARD = yaml.safe_load(Path(__file__).with_name("awkward_answers.yaml").read_text(encoding="utf-8"))
GENES = ["SPI1", "GATA1", "NKX2-1", "HLA-DRA", "AC004556.1", "7SK", "MAX", "REST", "Spi1", "A/B", "H3.3"]


@pytest.mark.parametrize("case", AWKWARD["answers"], ids=lambda case: case["name"])
def test_an_awkward_answer_is_read_as_a_biologist_reads_it(case):
    lists = [tuple(map(str, case.get(field, ()))) for field in ("symbols", "invented", "repeated")]
    offered = case.get("offered", AWKWARD["offered"])
    assert parse_answer(case["text"], offered) == Answer(*lists, found=case.get("found", True))


def test_there_are_many_awkward_answers_under_different_names():
    names = {case["name"] for case in AWKWARD["answers"]}
    assert len(names) == len(AWKWARD["answers"]) >= 60


SIGNS = (
    "<Answer> </Answer> <think> </think> [ ] { } ( ) \" ' , ; : - 1. ** ``` json | and is answer ... &lt; none no \\ ="
)
PIECES = st.sampled_from([*SIGNS.split(), "\n", " ", "\u200b", *GENES, "PU.1", "spi1", "T1", "FOO9", "the rest was"])
TEXTS = st.one_of(st.text(max_size=200), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=60).map("".join))


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_no_text_raises_or_yields_what_was_not_offered(text):
    answer = parse_answer(text, GENES)
    assert set(answer.symbols) <= set(GENES)
    assert len(set(answer.symbols)) == len(answer.symbols)
    assert set(answer.repeated) <= set(answer.symbols)
    assert not set(answer.invented) & set(GENES)
    assert answer.found or answer == Answer()
    several = parse_answers(text, ["T1", "T2"], GENES)
    assert list(several) == ["T1", "T2"]
    assert all(set(one.symbols) <= set(GENES) for one in several.values())


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.lists(st.text(max_size=6), max_size=6))
def test_any_text_may_be_offered(text, offered):
    for reply in (text, f"<Answer> [{', '.join(offered)}] </Answer>"):
        assert set(parse_answer(reply, offered).symbols) <= set(offered)


SYMBOL = st.from_regex(r"[A-Z0-9]{1,2}[A-Z]{1,3}[0-9]{1,3}([-._/][A-Z0-9]{1,5}){0,2}", fullmatch=True)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(SYMBOL, min_size=1, max_size=12, unique_by=str.lower), st.integers(0, 2**32))
def test_any_rendering_of_a_list_is_read_back(symbols, seed):
    text = render(symbols, random.Random(seed))
    others = [f"ZZ{i}YY" for i in range(5)]
    assert parse_answer(text, [*others, *symbols]) == Answer(tuple(symbols), found=True), text


def render(symbols, draw):
    """The list in one of the forms that models use."""
    quote = draw.choice(["{}", '"{}"', "'{}'", "`{}`", "**{}**", "“{}”", "{} (0.9)", "{} (an alias)"])
    names = [quote.format(symbol) for symbol in symbols]
    if draw.random() < 0.3:
        names = [name.lower() if draw.random() < 0.5 else name for name in names]
    if draw.random() < 0.5:
        form = draw.choice(["{i}. {name}", "{i}) {name}", "({i}) {name}", "- {name}", "* {name}", "• {name}", "{name}"])
        explained = draw.choice(["", "", " - it matters, and so on", ": a factor; a big one"])
        body = "\n".join(form.format(i=i, name=name) + explained for i, name in enumerate(names, 1))
    else:
        body = draw.choice([", ", ",", "; ", " , ", ",\n", "，", " and "]).join(names)
        body += draw.choice(["", ",", ", ..."]) if len(names) > 1 else ""
        body = draw.choice(["[{}]", "[ {} ]", "{}", "[\n{}\n]"]).format(body)
    if draw.random() < 0.3:
        body = f"```\n{body}\n```"
    tag = draw.choice(["<{}Answer>", "<{}answer>", "<{}ANSWER>", "&lt;{}Answer&gt;", "< {}Answer >"])
    end = tag.format("/") + draw.choice(["", "\n", "\nI hope this helps with MAX and REST."])
    before = draw.choice(
        ["", "Step 1: MAX, then REST.\n", "I use <Answer> [A, B, ...] </Answer>.\n", "<think>x [Y]</think>"]
    )
    return f"{before}{tag.format('')} {body} {end}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["[", "{", "(", "]", "<Answer>", "</Answer>", "<Answer>[", "<think>", "```", '"', " ", "\n", "- \n", "a,",
     "a, b c d, ", "A1 - ", "the ", "tf ", "and ", "<", "&amp;", "&#9", "\u0301\u0323", "x [y] ", '{"a":', "[1,",
     "answer: ", "1. x y z\n", "| a | b\n", "SPI1, ", "T1: [", "T1 = ", "[SPI1](", "\\", "-", ". ", "9",
     "\ud800", "[]", "{} "],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "<Answer> {} </Answer>", "Answer: {}"])
def test_garbage_takes_linear_time(piece, around):
    text = around.replace("{}", piece * (100_000 // len(piece)))
    start = time.process_time()
    parse_answer(text, GENES)
    parse_answers(text, ["T1", "T2"], GENES)
    assert time.process_time() - start < 15  # below 0.5 s on a quiet machine; backtracking would take hours


@pytest.mark.slow
@pytest.mark.parametrize("depth", [10, 200, 900, 50_000])
def test_nested_brackets_and_long_numbers_raise_nothing(depth):
    for opening, closing in ("[", "]"), ('{"a":', "}"), ("(", ")"), ('{"T1":', "}"):
        text = opening * depth + '["SPI1"]' + closing * depth
        for reply in (text, f"<Answer> {text} </Answer>", f"<Answer> [{'9' * depth}] &#{'9' * depth}; </Answer>"):
            assert set(parse_answer(reply, GENES).symbols) <= {"SPI1"}
            assert set(parse_answers(reply, ["T1"], GENES)["T1"].symbols) <= {"SPI1"}


def test_distinct_garbage_takes_linear_time():
    draw = random.Random(0)
    for separator in (" ", ", ", "\n", " - ", "] ["):
        words = separator.join("".join(draw.choices("abcdefgABC123-.:/()", k=5)) for _ in range(30_000))
        start = time.process_time()
        parse_answer(f"<Answer> {words} </Answer>", GENES)
        assert time.process_time() - start < 2.0, separator


TWO = {"CD3D": ("GATA1", "MAX"), "LYZ": ("SPI1",)}


@pytest.mark.parametrize(
    "text",
    [
        '<Answer> {"CD3D": ["GATA1", "MAX"], "LYZ": ["SPI1"]} </Answer>',
        '{"CD3D": ["GATA1", "MAX"], "LYZ": ["SPI1"]}',
        '{"reasoning": "REST", "answer": {"CD3D": ["GATA1", "MAX"], "LYZ": ["SPI1"]}}',
        'REST?\n```json\n{"answer": [{"target": "CD3D", "tfs": ["GATA1", "MAX"]}, {"target": "LYZ", "tfs": ["SPI1"]}]}'
        "\n```",
        "<Answer> {'CD3D': ['GATA1', 'MAX',], 'lyz': ['SPI1'],} </Answer>",
        '<Answer> {"CD3D": ["GATA1", "MAX"], "LYZ": ["SPI1"',
        "<Answer>\nCD3D: [GATA1, MAX]\nLYZ: [SPI1]\n</Answer>",
        "<Answer> CD3D: [GATA1, MAX]; LYZ: [SPI1] </Answer>",
        "<Answer>\n- **CD3D**: GATA1, MAX\n- **LYZ**: SPI1\n</Answer>",
        "<Answer>\n1. CD3D -> GATA1, MAX\n2. LYZ -> SPI1\n</Answer>",
        "<Answer>\n### CD3D\n1. GATA1 - T cells, with REST\n2. MAX\n\n### LYZ\n1. PU.1 (SPI1)\n</Answer>",
        "<Answer>\nTarget: CD3D\n- GATA1\n- MAX\nTarget: LYZ\n- SPI1\n</Answer>",
        "CD3D: <Answer> [GATA1, MAX] </Answer>\nLYZ: <Answer> [SPI1] </Answer>",
        '<think>CD3D: [REST]</think><Answer> {"CD3D": ["A", "B"]} </Answer> <Answer> {"CD3D": ["GATA1", "MAX"], '
        '"LYZ": ["SPI1"]} </Answer>',
        "For these:\nCD3D: [GATA1, MAX]\nLYZ: [SPI1]",
    ],
)
def test_answers_about_several_targets(text):
    answers = parse_answers(text, ["CD3D", "LYZ", "NKG7"], GENES)
    assert {target: answer.symbols for target, answer in answers.items() if answer.found} == TWO
    assert answers["NKG7"] == Answer()


def test_what_is_invented_or_none_is_told_by_target():
    answers = parse_answers('<Answer> {"CD3D": [], "LYZ": ["FOO1", "SPI1", "SPI1"]} </Answer>', ["CD3D", "LYZ"], GENES)
    assert answers == {"CD3D": Answer(found=True), "LYZ": Answer(("SPI1",), ("FOO1",), ("SPI1",), True)}


@pytest.mark.parametrize(
    "text", ["", "CD3D is regulated by GATA1 and LYZ by SPI1.", "<Answer> [SPI1] </Answer>", "<think>LYZ: [SPI1]"]
)
def test_no_answer_about_several_targets(text):
    assert parse_answers(text, ["CD3D", "LYZ"], GENES) == {"CD3D": Answer(), "LYZ": Answer()}


def test_one_target_may_be_answered_without_its_name():
    assert parse_answers("<Answer> [SPI1] </Answer>", ["CD3D"], GENES) == {"CD3D": Answer(("SPI1",), found=True)}


@pytest.mark.parametrize(
    "answer",
    [
        "[SPI1+, BCL6-, MYC]",
        "[SPI1 (+), BCL6 (−), MYC (?)]",
        '["SPI1 +", "BCL6 -", "MYC ?"]',
        "SPI1: activates\nBCL6 - represses it\nMYC - a master regulator",
        '{"SPI1": "+", "BCL6": -1, "MYC": "?"}',
        '[{"TF": "SPI1", "effect": "activation"}, {"TF": "BCL6", "effect": "repression"}, {"TF": "MYC"}]',
        "- **SPI1** (activator)\n- BCL6 [-]\n- MYC",
    ],
)
def test_signs_are_read_however_they_are_written(answer):
    read = parse_answer(f"<Answer>\n{answer}\n</Answer>", ["BCL6", "MYC", "SPI1"])
    assert (read.symbols, read.signs) == (("SPI1", "BCL6", "MYC"), (1, -1, 0))


def test_a_word_of_a_closing_line_is_no_gene_unless_it_is_written_as_one():
    """REST is a TF, and a word."""
    offered = ["SPI1", "GATA1", "REST"]
    closed = parse_answer("- SPI1\n- GATA1\nI hope the rest is clear.", offered)
    assert closed.symbols == ("SPI1", "GATA1")
    reasoning = parse_answer("- SPI1\n- GATA1\nOf these only REST is a TF.", offered)
    assert reasoning.symbols != ("SPI1", "GATA1")


@pytest.mark.parametrize(
    "text",
    [
        "<Answer><tf>SPI1</tf><tf>GATA1</tf></Answer>",
        "<answers>\n<tf>SPI1</tf>\n<tf>GATA1</tf>\n</answers>",
        r"So the regulators are \boxed{SPI1, GATA1}.",
        "<|channel|>analysis<|message|>Perhaps REST? <Answer> [REST] </Answer><|end|>"
        "<|channel|>final<|message|><Answer> [SPI1, GATA1] </Answer>",
        "<Answer>(1) SPI1 (2) GATA1</Answer>",
    ],
)
def test_forms_of_other_models(text):
    assert parse_answer(text, ["SPI1", "GATA1", "REST"]).symbols == ("SPI1", "GATA1")


def test_a_box_that_is_cut_off_is_read_in_no_time():
    started = time.monotonic()
    parse_answer("\\boxed{" + r"\{a\}" * 5_000, ["GATA1"])
    assert time.monotonic() - started < 5
