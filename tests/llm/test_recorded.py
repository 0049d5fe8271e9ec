"""Recorded answers: found by what was asked, whatever it was asked of."""

import asyncio
import hashlib
import json

import pytest

from llm4grn.errors import UserError
from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.recorded import RecordedChat

SYSTEM = {"role": "system", "content": "You are a biologist."}
QUESTION = {"role": "user", "content": "Which of\nGATA1, ACTB are TFs?"}


def record(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RecordedChat(str(path))


def complete(model, request):
    async def ask():
        async with model:
            return await model.complete(request)

    return asyncio.run(ask())


def test_a_question_is_found_by_its_messages_and_sample(tmp_path):
    model = record(
        tmp_path / "answers.jsonl",
        {"messages": [SYSTEM, QUESTION], "text": "GATA1", "model": "gpt-4", "prompt_tokens": 9, "cost": 0.5},
        {"messages": [SYSTEM, QUESTION], "text": "none", "model": "llama"},
        {"messages": [SYSTEM, QUESTION], "text": "", "sample": 1},
    )
    asked = Request("any", [SYSTEM, QUESTION], {"temperature": 0})
    assert complete(model, asked) == Reply("GATA1", prompt_tokens=9, cost=0.5)
    assert complete(model, Request("any", (dict(reversed(SYSTEM.items())), QUESTION), sample=1)).text == ""


@pytest.mark.parametrize(
    "request_", [Request("m", [QUESTION]), Request("m", [SYSTEM, QUESTION], sample=1)], ids=["messages", "sample"]
)
def test_a_question_that_is_not_recorded_is_printed(tmp_path, request_):
    model = record(tmp_path / "answers.jsonl", {"messages": [SYSTEM, QUESTION], "text": "GATA1"})
    with pytest.raises(UserError) as caught:
        complete(model, request_)
    message = str(caught.value)
    assert r"Which of\nGATA1, ACTB are TFs?" in message
    assert str(tmp_path / "answers.jsonl") in message
    assert f"sample {request_.sample}" in message
    assert "\n" not in message


def test_a_file_that_cannot_be_used_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match=r"absent\.jsonl"):
        RecordedChat(str(tmp_path / "absent.jsonl"))
    with pytest.raises(UserError, match=r"empty\.jsonl: no answer"):
        record(tmp_path / "empty.jsonl")
    with pytest.raises(UserError, match="line 2"):
        record(tmp_path / "answers.jsonl", {"messages": [QUESTION], "text": "x"}, {"text": "y"})


def test_the_content_of_the_file_counts_not_its_name(tmp_path):
    line = {"messages": [QUESTION], "text": "GATA1"}
    a, b = record(tmp_path / "a.jsonl", line), record(tmp_path / "b.jsonl", line)
    assert a.fingerprint() == b.fingerprint()
    assert a.fingerprint()["sha256"] == hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    assert a.fingerprint() != record(tmp_path / "c.jsonl", {**line, "text": "SPI1"}).fingerprint()
