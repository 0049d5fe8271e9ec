"""Recorded answers as JSON Lines: what a user may leave out, and what is refused with file and line."""

import gzip
import json

import pytest

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.jsonl import read_jsonl, write_jsonl
from llm4grn.llm.messages import Reply, Request

ASKED = [{"role": "user", "content": "Which of A and B?"}]
LINE = {"messages": ASKED, "text": "A"}


def test_only_the_question_and_the_answer_are_needed(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(LINE).encode() + b"\r\n\n  \n" + json.dumps(LINE).encode())
    assert list(read_jsonl(path)) == [(Request("", ASKED), Reply("A"), None)] * 2


def test_a_file_is_read_back_as_it_was_written(tmp_path):
    request = Request("gpt-4", ASKED, {"temperature": 0.0, "response_format": {"type": "json", "strict": True}}, 3)
    reply = Reply("Δ\n\u2028\ud83d", 10, 20, 1.5, "length", 0.01)
    path = tmp_path / "answers.jsonl"
    assert write_jsonl(path, [(request, reply, "2025-01-31T12:00:00+00:00"), (request, reply, None)]) == 2
    first, second = read_jsonl(path)
    assert (first[0].key, *first[1:]) == (request.key, reply, "2025-01-31T12:00:00+00:00")
    assert (second[0].key, *second[1:]) == (request.key, reply, None)


def test_what_was_not_recorded_is_absent(tmp_path):
    path = tmp_path / "answers.jsonl"
    write_jsonl(path, [(Request("", ASKED), Reply("A", latency=0.0), None)])
    known = {"model": "", "messages": ASKED, "parameters": {}, "sample": 0, "text": "A", "finish_reason": "stop"}
    assert json.loads(path.read_text()) == {**known, "latency": 0.0}
    [(_, reply, _)] = read_jsonl(path)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.latency, reply.cost) == (None, None, 0.0, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"gene\ttarget", "Expecting value"),
        (b'{"messages": ', "Expecting value"),
        (b"[" * 100_000, "recursion"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"messages": [{"role": "user", "content": "x"}], "text": "y", "cost": NaN}', "NaN is not a JSON value"),
        ({"text": "A"}, "the field messages is missing"),
        ({"messages": ASKED}, "the field text is missing"),
        ({**LINE, "answer": "A"}, "unknown field 'answer', known are model, messages"),
        ({**LINE, "text": None}, "text must be text, not null"),
        ({**LINE, "model": "two\nlines"}, "model must be a name"),
        ({**LINE, "messages": []}, "messages must be a list of objects"),
        ({**LINE, "messages": "Which?"}, "messages must be a list of objects"),
        ({**LINE, "messages": [{"role": "user"}]}, "messages must be a list of objects"),
        ({**LINE, "messages": [{"role": "user", "content": ["x"]}]}, "messages must be a list of objects"),
        ({**LINE, "parameters": [1]}, r"parameters must be an object, not \[1\]"),
        ({**LINE, "sample": -1}, "sample must be a whole number from 0, not -1"),
        ({**LINE, "sample": True}, "sample must be a whole number from 0, not true"),
        ({**LINE, "prompt_tokens": 2**63}, "prompt_tokens must be a whole number"),
        ({**LINE, "cost": -0.1}, "cost must be a number from 0, not -0.1"),
        ({**LINE, "prompt_tokens": None}, "prompt_tokens must be a whole number from 0, not null"),
        ({**LINE, "latency": "1 s"}, "latency must be a number"),
        ({**LINE, "finish_reason": "\ud83d"}, "finish_reason must be a word"),
        ({**LINE, "time": "yesterday"}, "time must be a time in UTC"),
        ({**LINE, "time": "2025-01-31T12:00:00+02:00"}, "time must be a time in UTC"),
        (json.dumps({**LINE, "parameters": {"x": 1}}).replace("1}", "1e999}").encode(), "Out of range float values"),
    ],
)
def test_a_line_that_is_no_answer_is_named(tmp_path, line, message):
    path = tmp_path / "answers.jsonl"
    broken = line if isinstance(line, bytes) else json.dumps(line).encode()
    path.write_bytes(json.dumps(LINE).encode() + b"\n\n" + broken + b"\n")
    with pytest.raises(UserError, match=rf"^\S*answers\.jsonl, line 3: .*{message}") as caught:
        list(read_jsonl(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(path), "")) < 300


@pytest.mark.parametrize("name", ["answers.jsonl.gz", "answers.jsonl"])
def test_gzip_is_told_by_the_content_and_not_by_the_name(tmp_path, name):
    text = b"\n" + json.dumps(LINE).encode() + b"\n"
    (tmp_path / name).write_bytes(gzip.compress(text))
    assert list(read_jsonl(tmp_path / name)) == [(Request("", ASKED), Reply("A"), None)]
    (tmp_path / name).write_bytes(gzip.compress(text + b"[]\n"))
    with pytest.raises(UserError, match=rf"{name}, line 3: not a JSON object"):
        list(read_jsonl(tmp_path / name))
    (tmp_path / name).write_bytes(text)  # plain text under the name of a gzip file, too
    assert len(list(read_jsonl(tmp_path / name))) == 1


def _flipped(packed: bytes, position: int) -> bytes:
    return packed[:position] + bytes([packed[position] ^ 0xFF]) + packed[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-20],
        lambda packed: packed[:2],
        lambda packed: packed[:4],
        lambda packed: _flipped(packed, 2),
        lambda packed: _flipped(packed, 10),
        lambda packed: _flipped(packed, len(packed) - 6),
        lambda packed: packed + b"{}",
    ],
    ids=["cut off", "magic number only", "half a header", "method", "first block", "checksum", "more behind it"],
)
def test_damaged_gzip_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "answers.jsonl.gz"
    path.write_bytes(damage(gzip.compress(json.dumps(LINE).encode() + b"\n")))
    with pytest.raises(
        UserError, match=r"answers\.jsonl\.gz, after line [01]: damaged gzip \(.+\); get the file"
    ) as error:
        list(read_jsonl(path))
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: cannot be read \(No such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))


def test_what_cannot_be_written_is_one_clear_line_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text("before")
    with pytest.raises(ValueError, match="Out of range"):
        write_jsonl(path, [(Request("m", ASKED), Reply("A", cost=float("nan")), None)])
    assert [file.name for file in tmp_path.iterdir()] == ["answers.jsonl"]
    assert path.read_text() == "before"
    with pytest.raises(UserError, match=r"cannot write .*x\.jsonl"):
        write_jsonl(path / "x.jsonl", [])
