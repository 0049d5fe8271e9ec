"""Prompts: what the shipped strategies ask, how a user brings another, and what is refused."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

import llm4grn.llm.prompts
from llm4grn.errors import UserError
from llm4grn.llm.parsing.answers import Answer, parse_answer
from llm4grn.llm.parsing.answers_by_target import parse_answers
from llm4grn.llm.prompts import Prompts
from llm4grn.pipeline import describe

SHIPPED = ["cot", "cot_context", "cot_context_signs", "cot_context_v1", "zero_shot"]
GENES = ["SPI1", "HLA-DRA", "AC004556.1", "RP11-290F20.3", "7SK", "Gata1", "A$B", "{x}"]
TFS = ["SPI1", "NKX2-1", "Gata1", "REST"]
CONTEXT = "Blood of one healthy donor,\n  10x Genomics, costs $5."
TEMPLATES = Path(llm4grn.llm.prompts.__file__).with_name("templates")


def text_of(messages):
    assert [message["role"] for message in messages] == ["system", "user"]
    return "\n".join(message["content"] for message in messages)


def names_in(text, heading):
    """The list that follows ``heading`` in a prompt."""
    return re.search(rf"^{heading}: (.*)$", text, re.M)[1].split(", ")


def write(tmp_path, **changes):
    """The zero-shot strategy with changed keys, as a user's file; a key set to None is left out."""
    content = yaml.safe_load((TEMPLATES / "zero_shot.yaml").read_text()) | changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: text for key, text in content.items() if text is not None}))
    return path


def test_these_strategies_are_shipped():
    assert sorted(path.stem for path in TEMPLATES.glob("*.yaml")) == SHIPPED
    assert Prompts.load() == Prompts.load("cot_context")


@pytest.mark.parametrize("answer_format", ["text", "json"])
@pytest.mark.parametrize("name", SHIPPED)
def test_each_strategy_asks_every_question_with_every_name_as_offered(name, answer_format):
    prompts = Prompts.load(name, answer_format)
    tf_question = text_of(prompts.transcription_factors(GENES, CONTEXT))
    assert names_in(tf_question, "Genes") == GENES
    one = text_of(prompts.regulators(["CD3D"], TFS, 3, CONTEXT))
    several = text_of(prompts.regulators(["CD3D", "HLA-DRA"], TFS, 3, CONTEXT))
    assert names_in(several, "Target genes") == ["CD3D", "HLA-DRA"]
    assert "CD3D" in one
    for question in one, several:
        assert names_in(question, "Candidate transcription factors") == TFS
        assert "exactly 3" in question
        assert "most important" in question
    for question in tf_question, one, several:
        assert ("<Answer>" in question, '"answer"' in question) == (answer_format == "text", answer_format == "json")
        assert ("Blood of one healthy donor, 10x Genomics, costs $5." in question) == name.startswith("cot_context")
        assert not set(re.findall(r"\$\w+", question)) - {"$B", "$5"}
        assert ("Do not explain" in question) == (not prompts.reasoning) == (name == "zero_shot")


@pytest.mark.parametrize("name", SHIPPED)
def test_no_trace_of_the_context_remains_where_there_is_none(name):
    prompts = Prompts.load(name)
    assert "The data:" not in text_of(prompts.transcription_factors(GENES))
    assert ("The data:" in text_of(prompts.transcription_factors(GENES, CONTEXT))) == name.startswith("cot_context")


@pytest.mark.parametrize("answer_format", ["text", "json"])
@pytest.mark.parametrize("name", [name for name in SHIPPED if "signs" not in name])
def test_the_form_that_is_asked_for_is_understood_but_its_example_is_no_answer(name, answer_format):
    prompts = Prompts.load(name, answer_format)
    one = form_of(prompts.regulators(["CD3D"], TFS, 3))
    form = one.partition("form: ")[2] or one.partition("else: ")[2]
    assert parse_answer(form, TFS) == Answer()
    filled = form.replace('"A", "B"', '"SPI1", "REST"').replace("A, B, ...", "SPI1, REST")
    assert parse_answer(filled, TFS) == Answer(("SPI1", "REST"), found=True)
    form = form_of(prompts.regulators(["CD3D", "LYZ"], TFS, 3))
    filled = (
        form.replace("TARGET1", "CD3D").replace('"A", "B"', '"SPI1"').replace("TARGET2", "LYZ").replace('"C", "D"', "")
    )
    assert parse_answers(filled, ["CD3D", "LYZ"], TFS) == {
        "CD3D": Answer(("SPI1",), found=True),
        "LYZ": Answer(found=True),
    }


@pytest.mark.parametrize("answer_format", ["text", "json"])
def test_the_form_with_signs_is_asked_for_edges_alone_and_understood(answer_format):
    prompts, plain = (Prompts.load(name, answer_format) for name in ("cot_context_signs", "cot_context"))
    assert (prompts.signs, plain.signs) == (True, False)
    assert prompts.transcription_factors(GENES, CONTEXT) == plain.transcription_factors(GENES, CONTEXT)
    names = str.maketrans({"A": "SPI1", "B": "REST", "C": "Gata1", "D": "NKX2-1"})

    def filled(targets):
        form = form_of(prompts.regulators(targets, TFS, 3))
        form = form.partition("form: ")[2] or form
        for i, target in enumerate(targets, 1):
            form = form.replace(f"TARGET{i}", target.lower())
        start = form.index("[" if len(targets) == 1 else "{")
        form = form[:start] + form[start:].replace(", ...", "").translate(names)
        for target in targets:
            form = form.replace(target.lower(), target)
        return form

    one = parse_answer(filled(["LYZ"]), TFS)
    assert (one.symbols, one.signs) == (("SPI1", "REST"), (1, -1))
    several = parse_answers(filled(["LYZ", "XYL"]), ["LYZ", "XYL"], TFS)
    if answer_format == "text":
        assert (several["LYZ"].symbols, several["LYZ"].signs) == (("SPI1", "REST"), (1, -1))
        assert (several["XYL"].symbols, several["XYL"].signs) == (("Gata1", "NKX2-1"), (1, 0))
    else:
        assert [(several[name].symbols, several[name].signs) for name in ("LYZ", "XYL")] == [
            (("SPI1",), (1,)),
            (("REST",), (-1,)),
        ]


@pytest.mark.parametrize(("targets", "form"), [(["CD3D"], "[A+, B-, ...]"), (["CD3D", "LYZ"], "TARGET2")])
def test_a_repair_asks_for_signs_again(targets, form):
    prompts = Prompts.load("cot_context_signs")
    assert form in prompts.repair(prompts.regulators(targets, TFS, 3), "no", "No list.")[-1]["content"]
    of_tfs = prompts.repair(prompts.transcription_factors(GENES), "no", "No list.")[-1]["content"]
    assert "[A, B, ...]" in of_tfs


def test_forms_with_signs_come_with_the_key_signs(tmp_path):
    with pytest.raises(UserError, match="the key answer_signed_text is missing"):
        Prompts.load(str(write(tmp_path, signs=True)))
    with pytest.raises(UserError, match="unknown key answer_signed_text"):
        Prompts.load(str(write(tmp_path, answer_signed_text="x")))
    with pytest.raises(UserError, match="signs: expected true or false, not 'yes'"):
        Prompts.load(str(write(tmp_path, signs="yes")))


def form_of(messages):
    """The last line before the names that differ from question to question."""
    lines = messages[-1]["content"].splitlines()
    return [line for line in lines if line and not line.startswith(("Target gene: ", "Target genes: "))][-1]


def test_the_wording_of_the_shipped_recording_is_frozen():
    content = yaml.safe_load((TEMPLATES / "cot_context_v1.yaml").read_text())
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert digest == "cd9f60c77c8cbbc78d7d8fe2b4f74917629f82051cae61653d915e46d06025f6"


@pytest.mark.parametrize("answer_format", ["text", "json"])
@pytest.mark.parametrize("name", ["cot", "cot_context", "cot_context_signs", "zero_shot"])
def test_questions_differ_in_their_last_line_only(name, answer_format):
    prompts = Prompts.load(name, answer_format)
    pairs = [
        (prompts.regulators([target], TFS, 3, CONTEXT) for target in ("CD3D", "LYZ")),
        (prompts.regulators(targets, TFS, 3, CONTEXT) for targets in (["CD3D", "LYZ"], ["ACTB", "GNLY", "B2M"])),
        (prompts.transcription_factors(genes, CONTEXT) for genes in (GENES, GENES[:3])),
    ]
    for one, other in pairs:
        assert one != other
        assert [text_of(each).rpartition("\n")[0] for each in (one, other)] == [text_of(one).rpartition("\n")[0]] * 2


def test_a_users_file_is_used(tmp_path):
    path = write(tmp_path, regulators="Who drives $target? ${tfs} $k for $$1 $answer", system="")
    prompts = Prompts.load(str(path))
    assert prompts.name == "mine"
    messages = prompts.regulators(["CD3D"], TFS, 2)
    assert [message["role"] for message in messages] == ["user"]
    assert messages[0]["content"].startswith(
        "Who drives CD3D? SPI1, NKX2-1, Gata1, REST 2 for $1 Your reply is one line"
    )


def test_prompts_are_the_same_if_what_is_used_of_them_is(tmp_path):
    zero_shot = Prompts.load("zero_shot")
    copy = tmp_path / "copy.yaml"
    copy.write_text("# mine\n" + (TEMPLATES / "zero_shot.yaml").read_text())
    assert Prompts.load(str(copy)) == zero_shot
    assert Prompts.load(str(write(tmp_path, answer_json="Other JSON."))) == zero_shot
    others = [
        Prompts.load("cot"),
        Prompts.load("cot_context"),
        Prompts.load("zero_shot", "json"),
        Prompts.load(str(write(tmp_path, repair="Again: $reason $answer"))),
    ]
    assert zero_shot not in others


def test_the_key_of_a_stage_holds_each_text_once():
    described = describe(Prompts.load("zero_shot"))
    assert described.keys() == {"class", "texts", "reasoning", "answer_format"}
    assert json.dumps(described).count("Which of the genes listed at the end encode") == 1


@pytest.mark.parametrize(("targets", "form"), [(["CD3D"], "[A, B, ...]"), (["CD3D", "LYZ"], "TARGET2")])
def test_an_answer_of_no_use_is_asked_again_with_the_reason(targets, form):
    prompts = Prompts.load("cot")
    messages = prompts.regulators(targets, TFS, 3)
    before = json.dumps(messages)
    again = prompts.repair(messages, "<Answer> [FOO1] </Answer>", "FOO1 is no candidate.")
    assert again[:2] == messages
    assert [message["role"] for message in again[2:]] == ["assistant", "user"]
    assert again[2]["content"] == "<Answer> [FOO1] </Answer>"
    assert "FOO1 is no candidate." in again[3]["content"]
    assert form in again[3]["content"]
    third = prompts.repair(again, "no", "No list was found.")
    assert len(third) == 6
    assert form in third[-1]["content"]
    assert json.dumps(messages) == before


def test_an_empty_reply_is_mentioned_but_not_repeated():
    prompts = Prompts.load("zero_shot")
    messages = prompts.transcription_factors(GENES)
    for nothing in ("", " \n"):
        again = prompts.repair(messages, nothing, "There was no answer.")
        assert [message["role"] for message in again] == ["system", "user"]
        assert again[1]["content"].startswith(messages[1]["content"])
        assert "was empty" in again[1]["content"][len(messages[1]["content"]) :]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regulators": None}, "the key regulators is missing; the keys are reasoning, system"),
        ({"regulator": "x"}, "unknown key regulator; the keys are"),
        ({"system": 3}, "system: expected a text, not 3"),
        ({"repair": ["a"]}, r"repair: expected a text, not \['a'\]"),
        ({"reasoning": "yes"}, "reasoning: expected true or false, not 'yes'"),
        ({"answer_text": "  "}, "answer_text: the text is empty"),
        ({"regulators": "$target $tfs $k"}, r"regulators: \$answer is missing; it may contain: \$target, \$tfs, \$k"),
        ({"regulators": "$target $tfs $k $answer $gene"}, r"regulators: unknown word \$gene; it may contain: \$target"),
        ({"answer_text": "$k names"}, r"answer_text: unknown word \$k; it may contain: none"),
        ({"repair": "\ud83d $reason $answer"}, "repair: holds half a character"),
        ({"repair": "$reason $answer for $5"}, r"repair: a \$ that begins no word; write \$\$"),
    ],
)
def test_a_mistake_in_a_users_file_is_refused_by_file_and_key(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        Prompts.load(str(path))
    assert str(caught.value).startswith(f"llm.prompts={path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the keys reasoning, system"),
        (b"- a\n- b\n", "expected the keys"),
        (b"system: |\n  a\n b: [", r"line \d+: not valid YAML"),
        (b"\x1f\x8b\xff", "not a text file"),
        (b"a: \x00", "not valid YAML"),
        (
            (TEMPLATES / "cot.yaml").read_bytes() + b'\nrepair: "\\ud83d $reason $answer"',
            "repair: holds half a character",
        ),
        (b"a: !!python/object:os.system x", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_strategy_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        Prompts.load(str(tmp_path / "mine.yaml"))
    assert str(caught.value).startswith("llm.prompts=")
    assert "\n" not in str(caught.value)


def test_an_unknown_name_or_format_is_refused(tmp_path):
    for name in ("few_shot", str(tmp_path)):
        with pytest.raises(UserError, match=r"llm\.prompts=.*neither one of cot, .*, zero_shot nor a file"):
            Prompts.load(name)
    with pytest.raises(UserError, match=r"llm\.answer_format=xml: choose one of text, json"):
        Prompts.load("cot", "xml")


@pytest.mark.parametrize("name", [5, None, "", ["cot"]])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UserError, match=r"llm\.prompts=.*: expected the name of a strategy or the path of a YAML file"):
        Prompts.load(name)


@pytest.mark.parametrize("context", [5, None, ["blood"]])
def test_a_context_that_is_no_text_is_refused(context):
    with pytest.raises(UserError, match=r"dataset\.context=.*: expected a few sentences"):
        Prompts.load("cot_context").transcription_factors(GENES, context)


def test_a_question_without_a_target_is_a_bug():
    with pytest.raises(ValueError, match="no target"):
        Prompts.load("cot").regulators([], TFS, 3)
