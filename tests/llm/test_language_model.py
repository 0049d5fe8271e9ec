"""A language model as a config describes it: what is refused, and what it sends."""

import dataclasses

import pytest
from interviewing import GENES, asked, model, question, symbols
from server import running_server

from llm4grn.errors import UserError
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.messages import Request
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.schema import answer_schema


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", "hot"),
        ("temperature", float("nan")),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_repairs", -1),
        ("max_repairs", True),
        ("max_cost", -1),
        ("max_cost", "ten"),
        ("temperature", float("inf")),
        ("model", None),
        ("model", ""),
        ("cache", 5),
        ("parameters", 5),
        ("parameters", {"top_p": float("nan")}),
        ("parameters", {"stop": {1, 2}}),
    ],
)
def test_impossible_values_are_refused(field, value):
    options = {"name": "tester", "model": "test-model", "chat": OpenAIChat("http://localhost:1/v1"), field: value}
    with pytest.raises(UserError, match=rf"^llm\.{field}="):
        LanguageModel(**options)


@pytest.mark.parametrize("name", ["model", "messages", "stream", "n"])
def test_parameters_that_would_change_what_is_asked_or_paid_unseen_are_refused(name):
    with pytest.raises(UserError, match=rf"^llm\.parameters\.{name}: not to be set here"):
        LanguageModel("tester", "test-model", OpenAIChat("http://localhost:1/v1"), parameters={name: 2})


# ---------------------------------------------------------------- what is sent


def test_seeds_share_one_answer_at_temperature_0_and_draw_their_own_above(path):
    seeds = [question(seed=seed) for seed in (1, 2, 2**31 + 1)]
    with running_server() as server:
        cold, warm = model(server, path), model(server, path, temperature=0.7)
        assert "seed" not in cold.request(seeds[0]).parameters
        assert [warm.request(asked).parameters["seed"] for asked in seeds] == [1, 2, 1]
        cold.interview(seeds, "asking")
        assert server.stats()["requests"] == 1
        warm.interview(seeds, "asking")
        assert server.stats()["requests"] == 3
        assert server.stats()["questions"] == 3  # a question with another seed is another one for the server, too


def test_a_temperature_that_is_not_controlled_is_not_sent_and_neither_is_a_seed():
    llm = LanguageModel("tester", "test-model", OpenAIChat("http://localhost:1/v1"), temperature=None)
    requests = [llm.request(question(seed=seed, sample=sample)) for seed, sample in ((1, 0), (2, 0), (1, 1))]
    assert [request.parameters for request in requests] == [{"max_tokens": 1500}] * 3
    assert requests[0].key == requests[1].key != requests[2].key


def test_samples_are_answers_of_their_own(path):
    with running_server() as server:
        llm = model(server, path, temperature=1)
        llm.interview([question(sample=i, seed=3) for i in range(3)], "asking")
        assert server.stats()["questions"] == 3  # by the seed that was sent
    assert sorted(record["sample"] for record in asked(path)) == [0, 1, 2]


def test_parameters_of_ones_own_are_sent_and_remembered(path):
    with running_server() as server:
        model(server, path, parameters={"top_p": 0.9}).interview([question()], "asking")
        model(server, path, parameters={"top_p": 0.8}).interview([question()], "asking")
        assert server.stats()["requests"] == 2
    assert [record["parameters"] for record in asked(path)] == [
        {"temperature": 0, "max_tokens": 10, "top_p": top_p} for top_p in (0.8, 0.9)
    ]


def test_a_parameter_that_a_server_does_not_know_is_left_out():
    parameters = {"max_tokens": None, "temperature": None, "max_completion_tokens": 99}
    llm = LanguageModel("tester", "test-model", OpenAIChat("http://localhost:1/v1"), parameters=parameters)
    assert llm.request(question()).parameters == {"max_completion_tokens": 99}
    assert dataclasses.replace(llm, parameters=None) == dataclasses.replace(llm, parameters={})


def test_answers_in_json_come_with_a_schema_and_are_read(path):
    with running_server() as server:
        llm = model(server, path, prompts=Prompts.load("cot_context", "json"))
        schema = llm.response_format(GENES, k=2)
        [interview] = llm.interview([question(response_format=schema)], "asking")
    assert schema == answer_schema(GENES, k=2, reasoning=True)
    assert interview.replies[0].text == '{"reasoning": "text 0", "answer": ["GATA1", "SPI1"]}'
    assert symbols(interview) == ("GATA1", "SPI1")
    assert asked(path)[0]["parameters"]["response_format"] == schema


def test_free_text_comes_without_a_schema():
    llm = LanguageModel("tester", "test-model", OpenAIChat("http://localhost:1/v1"))
    assert llm.response_format(GENES, k=2) is None
    assert llm.request(question()) == Request(
        "test-model", question().messages, {"temperature": 0.0, "max_tokens": 1500}
    )
