"""JSON schemas for answers: within the rules of strict servers, and read back to the names that were asked for."""

import copy

import pytest
import strict_schema
from server import running_server

from llm4grn.errors import UserError
from llm4grn.inference.llm import LLMInferer
from llm4grn.knowledge.llm import LLMKnowledgeBase
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.schema import answer_schema

TFS = ["SPI1", "NKX2-1", "Gata1", "A/B"]


def schema_of(response_format):
    assert strict_schema.problem(response_format) is None
    return response_format["json_schema"]["schema"]


def test_it_admits_the_offered_names_only():
    schema = schema_of(answer_schema(["SPI1", "REST", "SPI1"]))
    assert schema["$defs"]["name"] == {"type": "string", "enum": ["SPI1", "REST"]}
    assert schema["properties"] == {"answer": {"type": "array", "items": {"$ref": "#/$defs/name"}}}


def test_that_of_several_targets_has_a_list_for_each_after_the_reasoning():
    schema = schema_of(answer_schema(TFS, ["CD3D", "HLA-DRA"], k=3, reasoning=True))
    assert list(schema["properties"]) == ["reasoning", "answer"]
    answer = schema["properties"]["answer"]
    assert list(answer["properties"]) == ["CD3D", "HLA-DRA"]
    assert all((names["minItems"], names["maxItems"]) == (3, 3) for names in answer["properties"].values())


@pytest.mark.parametrize(
    ("n", "length", "enumerated"), [(0, 5, False), (250, 99, True), (500, 15, True), (500, 16, False), (501, 5, False)]
)
def test_it_enumerates_no_more_names_than_servers_take(n, length, enumerated):
    schema = schema_of(answer_schema([f"G{i:0{length - 1}}" for i in range(n)]))
    assert ("enum" in schema["$defs"]["name"]) == enumerated


def changed(path, value):
    response_format = copy.deepcopy(answer_schema(TFS, k=2, reasoning=True))
    *parents, last = path
    node = response_format["json_schema"]
    for name in parents:
        node = node[name]
    node[last] = value
    return response_format


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        changed(["strict"], False),
        changed(["name"], "two words"),
        changed(["schema", "additionalProperties"], True),
        changed(["schema", "required"], ["answer"]),
        changed(["schema", "type"], "array"),
        changed(["schema", "properties", "answer", "uniqueItems"], True),
        changed(["schema", "properties", "answer", "items"], {"$ref": "#/$defs/name", "description": "a TF"}),
        changed(["schema", "$defs", "name", "enum"], ["A", "A"]),
        changed(["schema", "$defs", "name", "enum"], [f"G{i}" for i in range(501)]),
    ],
)
def test_the_server_of_these_tests_refuses_what_openai_refuses(response_format):
    assert strict_schema.problem(response_format)


# ---------------------------------------------------------------- the whole way


@pytest.fixture
def llm():
    with running_server(k=3) as server:
        yield lambda prompts: LanguageModel(
            "strict", "test-model", OpenAIChat(server.url, None), Prompts.load(prompts, "json"), max_repairs=0
        )


@pytest.mark.parametrize("prompts", ["zero_shot", "cot_context"])
@pytest.mark.parametrize("targets_per_question", [1, 2])
@pytest.mark.parametrize("n_tfs", [5, 600])
def test_a_strict_server_takes_every_question_about_regulators(llm, prompts, targets_per_question, n_tfs):
    tfs = [f"TF{i}" if i else "text 0" for i in range(n_tfs)]  # "text 0" is what comes where nothing is enumerated
    inferer = LLMInferer(llm(prompts), "Blood.", k=2, targets_per_question=targets_per_question)
    interviews = inferer.llm.interview(inferer.questions(["CD3D", "HLA-DRA", "AC004556.1"], tfs, 0), "asking")
    named = [answer.symbols for interview in interviews for answer in interview.answers.values()]
    assert named == ([("text 0", "TF1")] if n_tfs == 5 else [("text 0",)]) * 3


def test_a_strict_server_takes_every_question_about_tfs(llm):
    genes = [f"GENE{i:02}" for i in range(35)]
    found = LLMKnowledgeBase(llm("cot")).transcription_factors(genes)
    assert set(found.names) == {genes[i + j] for i in (0, 10, 20) for j in range(3)}
    assert found.provenance["audit"]["unusable"] == 0


def test_a_server_that_knows_no_schemas_is_named_with_the_remedy():
    with running_server(faults="bad_request") as server:
        llm = LanguageModel("old", "gpt-4", OpenAIChat(server.url, None), Prompts.load("cot", "json"))
        with pytest.raises(UserError, match=r"does not accept the question .* try llm\.answer_format=text, or check"):
            LLMKnowledgeBase(llm).transcription_factors(["SPI1", "CD3D"])
