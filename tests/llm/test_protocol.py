"""The OpenAI protocol as servers really speak it: what is sent can be sent, what comes back can be kept."""

import json

import pytest

from llm4grn.llm.answers_cache.jsonl import read_jsonl, write_jsonl
from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.openai.protocol import to_body, to_reply


def body(content="SPI1", usage=None, **choice):
    message = content if isinstance(content, dict) else {"role": "assistant", "content": content}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    return json.dumps(answer | ({} if usage is None else {"usage": usage}))


def test_an_answer_with_its_tokens():
    reply = to_reply(body(usage={"prompt_tokens": 30, "completion_tokens": 4}, finish_reason="length"), 99)
    assert reply == Reply("SPI1", 30, 4, finish_reason="length")


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": None},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": -5, "completion_tokens": 10**30},
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
        {"prompt_tokens": True, "completion_tokens": "many"},
    ],
)
def test_tokens_that_cannot_be_are_estimated(usage):
    assert to_reply(body("x" * 7, usage), 99) == Reply("x" * 7, 99, 1)


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, ""), ({"content": None, "refusal": "I cannot help."}, "I cannot help."), ({"role": "assistant"}, "")],
)
def test_no_answer_is_an_empty_one_or_says_why(content, text):
    assert to_reply(body(content), 1).text == text


@pytest.mark.parametrize(
    ("message", "text", "finish_reason"),
    [
        ({"content": [{"type": "text", "text": "SPI1, "}, {"type": "text", "text": "GATA1"}]}, "SPI1, GATA1", "stop"),
        ({"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "A"}]}, "A", "stop"),
        ({"content": ["SPI1", "!"]}, "SPI1!", "stop"),
        ({"content": "", "reasoning_content": "so <Answer> [A] </Answer>"}, "so <Answer> [A] </Answer>", "stop"),
        ({"content": None, "reasoning": "so <Answer> [A] </Answer>"}, "so <Answer> [A] </Answer>", "stop"),
        ({"content": "A", "reasoning": "B"}, "A", "stop"),
        ({"content": "", "reasoning": "if A, then B"}, "", "length"),  # cut off: not an answer yet
        ({"content": None, "refusal": "I cannot help."}, "I cannot help.", "refusal"),
    ],
)
def test_an_answer_is_read_wherever_it_stands(message, text, finish_reason):
    given = "length" if finish_reason == "length" else "stop"
    reply = to_reply(body(message, finish_reason=given), 1, 50)
    assert (reply.text, reply.finish_reason) == (text, finish_reason)


@pytest.mark.parametrize(
    ("usage", "billed"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, (10, 5, None, None, None)),
        # Hidden reasoning that is only in the total, or beside the answer's tokens, or among them
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 415}, (10, 405, None, None, None)),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 400}},
            (10, 405, None, 400, None),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 405, "completion_tokens_details": {"reasoning_tokens": 400}},
            (10, 405, None, 400, None),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}},
            (10, 5, 8, None, None),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8}, (10, 5, 8, None, None)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.25}, (10, 5, None, None, 0.25)),
        ([3], (99, 2, None, None, None)),
    ],
)
def test_what_is_billed_is_read_in_every_form(usage, billed):
    reply = to_reply(body("SPI", usage), 99)
    tokens = reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens, reply.reasoning_tokens, reply.cost
    assert tokens == billed


def test_an_answer_that_is_cut_off_and_not_counted_has_as_many_tokens_as_it_may():
    assert to_reply(body("", finish_reason="length"), 1, 1500).completion_tokens == 1500


def test_the_model_that_served_is_kept():
    assert (
        to_reply(json.dumps({**json.loads(body()), "model": "gpt-x-2025-01-01"}), 1).served_model == "gpt-x-2025-01-01"
    )


@pytest.mark.parametrize("reason", [None, "", "two\nlines", {"a": 1}, 7, "\ud83d"])
def test_what_came_can_be_kept_and_taken_out_and_put_in_again(reason, tmp_path):
    reply = to_reply(body("cut \ud83d\0", finish_reason=reason), 1)
    assert reply.finish_reason == "stop"
    records = [(Request("m", [{"role": "user", "content": "?"}]), reply, None)]
    write_jsonl(tmp_path / "answers.jsonl", records)
    assert [answered for _, answered, _ in read_jsonl(tmp_path / "answers.jsonl")] == [reply]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "<html>",
        "[" * 100_000,
        f'{{"choices": {"9" * 5000}}}',
        '{"choices": []}',
        '{"choices": [null]}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": [7]}}]}',
        '{"choices": [{"message": {"content": {"text": "x"}}}]}',
        "[1]",
    ],
)
def test_anything_else_is_refused_without_a_trace_of_it(text):
    with pytest.raises(ValueError, match=r"protocol|no text") as caught:
        to_reply(text, 1)
    assert caught.value.__cause__ is None


def test_half_a_character_of_an_answer_can_be_repeated_to_the_model():
    request = Request("m", [{"role": "assistant", "content": "cut \ud83d"}])
    assert json.dumps(to_body(request)["messages"], ensure_ascii=False).encode()
    assert request.messages[0]["content"] == "cut \ud83d"  # what is kept stays as it came


def test_samples_differ_in_their_seeds_and_in_nothing_else():
    messages = [{"role": "user", "content": "?"}]
    bodies = [to_body(Request("m", messages, {"seed": 7, "top_k": 1}, sample)) for sample in (0, 2)]
    assert bodies == [{"model": "m", "messages": messages, "top_k": 1, "seed": seed} for seed in (7, 9)]
    assert to_body(Request("m", messages, {"top_k": 1}, sample=2)) == {"model": "m", "messages": messages, "top_k": 1}
