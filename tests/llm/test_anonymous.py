"""Codes in the place of gene names: nothing of a name reaches the model, and what it knows by name is gone."""

import dataclasses
import json
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from interviewing import asked, model
from server import running_server

from llm4grn.errors import UserError
from llm4grn.inference.llm import LLMInferer
from llm4grn.knowledge.llm import LLMKnowledgeBase
from llm4grn.llm.anonymous import GeneNames
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.parsing.answers import Answer
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.recorded import RecordedChat
from llm4grn.llm.shipped import ShippedChat

K = 4
TFS = ["ATF3", "CEBPA", "EBF1", "GATA1", "GATA3", "IRF8", "JUN", "KLF4", "LEF1", "MAFB", "PAX5", "RUNX3"]
TFS += ["SPI1", "STAT1", "TBX21", "TCF7", "YY1", "ZEB2", "FOXP3", "BACH2"]
TARGETS = [f"{family}{i}" for family in ("CD", "IL", "CCL", "HLA-D") for i in range(1, 11)]
GENES = sorted([*TFS, *TARGETS])
CONTEXT = "Blood: CD4+ and CD8+ T cells, HLA-D2 high monocytes with SPI1. Gene names are human gene symbols."
CELLS = anndata.AnnData(var=pd.DataFrame(index=GENES))
#: Nobody is there: for what needs no answer.
SILENT = LanguageModel("silent", "m", OpenAIChat("http://127.0.0.1:9/v1", api_key_env=None), anonymise=True)
NAME = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, GENES))})(?![\w-])")


@pytest.fixture(scope="module")
def edges():
    rng = np.random.default_rng(0)
    return {target: rng.choice(TFS, K, replace=False).tolist() for target in TARGETS}


@pytest.fixture(scope="module")
def knowing(edges, tmp_path_factory):
    file = tmp_path_factory.mktemp("edges") / "edges.json"
    file.write_text(json.dumps(edges))
    with running_server(brain="known", edges=file, k=K) as server:
        yield server


@pytest.fixture(scope="module")
def guessing():
    with running_server(brain="pick", k=K) as server:
        yield server


def network(server, path=None, targets_per_question=1, **options):
    llm = model(server, path, prompts=Prompts.load("cot_context"), **options)
    return LLMInferer(llm, CONTEXT, k=K, targets_per_question=targets_per_question).infer(CELLS, TFS, 0)


def hits(grn, edges) -> float:
    """Share of the true edges that are named."""
    named = grn.regulators(K)
    return float(np.mean([len({*named[target]} & {*edges[target]}) / K for target in TARGETS]))


# ---- a live model that answers by name, and one that answers at random


@pytest.mark.slow
def test_codes_bring_a_model_that_answers_by_name_down_to_one_that_guesses(knowing, guessing, edges):
    by_name, coded = network(knowing), network(knowing, anonymise=True)
    guessed = network(guessing, anonymise=True)
    assert hits(by_name, edges) == 1
    # 160 edges, each right with probability 4/20: within three standard errors of chance, as the one that guesses.
    error = (0.2 * 0.8 / 160) ** 0.5
    assert abs(hits(coded, edges) - 0.2) < 3 * error
    assert abs(hits(guessed, edges) - 0.2) < 3 * error
    assert set(coded.edges["TF"]) <= set(TFS)
    assert set(coded.edges["target"]) == set(TARGETS)


def test_no_name_is_sent(knowing, tmp_path):
    network(knowing, tmp_path / "answers.sqlite", anonymise=True)
    sent = json.dumps([line["messages"] for line in asked(tmp_path / "answers.sqlite")])
    assert not NAME.search(sent)
    assert "TF_001" in sent
    assert "GENE_040" in sent
    assert "Blood: GENE+ and GENE+ T cells, GENE high monocytes with GENE." in sent


def test_codes_come_in_their_own_order_and_group():
    """Neighbours in the alphabet are of one family: a list or a group of them would give that away."""
    llm = dataclasses.replace(SILENT, prompts=Prompts.load("zero_shot"))
    questions = LLMInferer(llm, k=K, targets_per_question=10).questions(sorted(TARGETS), sorted(TFS), 0)
    text = questions[0].messages[-1]["content"]
    for kind in "TF", "GENE":
        numbers = re.findall(rf"{kind}_(\d+)", text)
        assert numbers == sorted(numbers)
    families = [{name.rstrip("0123456789") for name in question.subject.split(", ")} for question in questions]
    assert all(len(group) > 2 for group in families)
    codes = GeneNames.coded(GENES, TFS).codes
    assert [codes[tf] for tf in sorted(TFS)] != sorted(codes[tf] for tf in TFS)


# ---- what is sent when an answer is refused, and what comes back


def question(targets, **options):
    llm = dataclasses.replace(SILENT, **options)
    return LLMInferer(llm, k=2, targets_per_question=len(targets)).questions(targets, ["JUN", "SPI1", "PAX5"], 0)[0]


def test_answers_come_back_under_their_names():
    codes = GeneNames.coded(["CD1", "CD2", "JUN", "SPI1", "PAX5"], ["JUN", "SPI1", "PAX5"]).codes
    one = question(["CD1"])
    said = f"<Answer> [{codes['SPI1'].lower()}, {codes['JUN']}, {codes['JUN']}, SPI1, TF_999] </Answer>"
    named = GeneNames.coded(["CD1", "JUN", "SPI1", "PAX5"], ["JUN", "SPI1", "PAX5"]).codes
    assert named["SPI1"] == codes["SPI1"]
    assert one.read(said) == {"CD1": Answer(("SPI1", "JUN"), ("SPI1", "TF_999"), ("JUN",), True)}
    two = question(["CD1", "CD2"])
    lists = {codes["CD1"]: [codes["PAX5"]], codes["CD2"]: [codes["JUN"], codes["SPI1"]]}
    answers = two.read(f"<Answer> {json.dumps(lists)} </Answer>")
    assert {target: answer.symbols for target, answer in answers.items()} == {"CD1": ("PAX5",), "CD2": ("JUN", "SPI1")}


def test_complaints_and_schemas_hold_codes():
    two = question(["CD1", "CD2"], prompts=Prompts.load("cot_context", "json"))
    code = GeneNames.coded(["CD1", "CD2"]).codes["CD1"]
    assert f"for {code} " in two.complaint({"CD1": Answer(("SPI1",), (), (), True), "CD2": Answer(("SPI1", "JUN"))})
    schema = json.dumps(two.response_format)
    assert not NAME.search(schema)
    assert code in schema


def test_the_question_about_tfs_shows_genes_of_one_kind():
    kb = LLMKnowledgeBase(SILENT, window=20, overlap=10)
    questions = kb.questions(GENES, CONTEXT, 0)
    text = json.dumps([one.messages for one in questions])
    assert not NAME.search(text)
    assert "TF_0" not in text
    codes = GeneNames.coded(GENES).codes
    answers = questions[0].read(f"<Answer> [{codes[kb.windows(GENES)[0][0]]}] </Answer>")
    assert next(iter(answers.values())).symbols == (kb.windows(GENES)[0][0],)


def test_a_code_that_was_not_offered_is_refused_and_not_invented(edges, tmp_path):
    """The audit counts as invented only what is no gene of the data."""
    with running_server(brain="first", k=K) as server:
        llm = model(server, tmp_path / "a.sqlite", prompts=Prompts.load("cot_context"), anonymise=True)
        kb = LLMKnowledgeBase(llm, window=20, overlap=10)
        audit = kb.transcription_factors(GENES, CONTEXT).provenance["audit"]
    assert audit["invented"] == 0


# ---- another description of the data


def context_of(**options):
    messages = (
        LLMInferer(dataclasses.replace(SILENT, **{"anonymise": False, **options}), CONTEXT)
        .questions(["CD1"], TFS, 0)[0]
        .messages
    )
    return messages[-1]["content"]


def test_the_description_is_replaced_or_left_out():
    assert f"The data: {CONTEXT}" in context_of()
    assert "The data: Bone marrow." in context_of(context="Bone marrow.")
    assert "The data:" not in context_of(context="")
    (first, *_) = LLMKnowledgeBase(dataclasses.replace(SILENT, context="Bone marrow.")).questions(GENES, CONTEXT, 0)
    assert "The data: Bone marrow." in first.messages[-1]["content"]


# ---- recorded answers


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"anonymise": True}, "llm.anonymise: "),
        ({"context": ""}, "llm.context: "),
        ({"context": "Skin."}, "llm.context"),
    ],
)
@pytest.mark.parametrize("chat", ["shipped", "recorded"])
def test_recorded_answers_need_a_live_model(change, field, chat, tmp_path):
    recording = ShippedChat() if chat == "shipped" else RecordedChat("tests/llm/one_answer.jsonl")
    llm = LanguageModel("claude", "claude", recording, temperature=None, **change)
    with pytest.raises(UserError) as caught:
        LLMInferer(llm, CONTEXT, k=K).infer(CELLS, TFS, 0)
    assert str(caught.value).startswith(field)
    assert "a live model is needed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recorded_answers_to_changed_questions_are_used(knowing, tmp_path):
    """Whoever recorded a live model's answers to coded questions can replay them."""
    live = network(knowing, tmp_path / "answers.sqlite", anonymise=True)
    asked(tmp_path / "answers.sqlite")
    llm = LanguageModel("m", "m", RecordedChat(str(tmp_path / "answers.jsonl")), anonymise=True, temperature=None)
    replayed = LLMInferer(llm, CONTEXT, k=K).infer(CELLS, TFS, 0)
    pd.testing.assert_frame_equal(replayed.edges, live.edges)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_anonymise_is_true_or_false(value):
    with pytest.raises(UserError, match=r"llm\.anonymise=.*: expected true or false"):
        dataclasses.replace(SILENT, anonymise=value)
