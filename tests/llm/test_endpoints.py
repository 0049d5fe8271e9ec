"""What endpoints do, against a real HTTP server: requests sent, dollars billed, answers used, and the line to read."""

import logging
from pathlib import Path

import pytest
from behaviours import BEHAVIOURS, table
from endpoint import endpoint, refused, said
from interviewing import GENES, question, read

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.schema import answer_schema

DOCS = Path(__file__).parents[2] / "docs" / "howto" / "endpoints.md"


def model(url, cache=None, chat=None, **options):
    prices = {"price_completion": 10_000}  # 100 tokens of an answer are a dollar, and 200 at most
    limits = {"api_key_env": None, "timeout": 20, "max_concurrency": 4, "max_retries": 3, "backoff": 0.001}
    chat = OpenAIChat(url, **{**limits, **prices, **(chat or {})})
    options = {"max_tokens": 200, "cache": cache and str(cache), **options}
    return LanguageModel("tester", "test-model", chat, Prompts.load("zero_shot"), **options)


def questions(n, with_schema=True):
    schema = answer_schema(GENES, k=2) if with_schema else None
    complaint = lambda answers: None if answers[""].symbols else "nothing was there"  # noqa: E731
    return [question(i, complaint, read=read, response_format=schema) for i in range(n)]


@pytest.fixture
def lines():
    """What is logged, from INFO on."""
    lines, handler, logger = [], logging.Handler(), logging.getLogger("llm4grn")
    handler.emit = lambda record: lines.append(record.getMessage())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda each: each.what)
def test_behaviour(behaviour, lines):
    with endpoint(behaviour.answer, hang=1.5) as server:
        llm = model(server.url, chat=behaviour.chat, **behaviour.llm)
        used = 0
        if behaviour.fails:
            with pytest.raises(UserError) as caught:
                llm.interview(questions(behaviour.n), "asking")
            lines.append(str(caught.value))
            assert str(caught.value).isprintable()
        else:
            used = sum(interview.usable for interview in llm.interview(questions(behaviour.n), "asking"))
        assert len(server.bodies) == behaviour.sent
    assert used == behaviour.used
    assert behaviour.reads in "\n".join(lines)
    [summary] = [line for line in lines if " new requests to tester" in line]
    assert f"to tester, ${behaviour.billed:.4f}" in summary


def test_the_documentation_shows_these_figures():
    assert table() in DOCS.read_text(), "print it with python tests/llm/behaviours.py"


def test_a_higher_limit_asks_only_what_was_cut_off_and_the_same_one_asks_nothing(tmp_path, lines):
    def answer(body, n):
        is_long = "Question 1\n" in body["messages"][0]["content"] and body["max_tokens"] < 1000
        return said("", "length") if is_long else said()

    with endpoint(answer) as server:
        for max_tokens, n_requests in (200, 4), (200, 4), (1000, 5), (2000, 5), (500, 5):
            interviews = model(server.url, tmp_path / "answers.sqlite", max_tokens=max_tokens).interview(
                questions(4), "asking"
            )
            assert len(server.bodies) == n_requests
            assert [each.usable for each in interviews] == [True, max_tokens >= 500, True, True]


def test_after_a_stop_the_same_command_pays_nothing_and_a_higher_limit_pays_for_what_was_cut(tmp_path):
    answer = lambda body, n: said("", "length") if body["max_tokens"] < 1000 else said()  # noqa: E731
    with endpoint(answer) as server:
        for _ in range(2):
            with pytest.raises(UserError, match=r"llm\.max_tokens=200: the last 3 .* raise llm\.max_tokens to 800"):
                model(server.url, tmp_path / "answers.sqlite").interview(questions(20), "asking")
            assert len(server.bodies) == 3
        model(server.url, tmp_path / "answers.sqlite", max_tokens=1000).interview(questions(20), "asking")
        assert len(server.bodies) == 23


def test_what_is_sent_in_another_way_is_kept_with_the_answer(tmp_path):
    answer = lambda body, n: said() if "seed" not in body else refused("Unknown parameter: 'seed'.")  # noqa: E731
    with endpoint(answer) as server:
        llm = model(server.url, tmp_path / "answers.sqlite", temperature=1.0)
        [interview] = llm.interview(questions(1), "asking")
        assert "seed" in server.bodies[0]
        assert "seed" not in server.bodies[1]
    [reply] = interview.replies
    assert (reply.adapted, reply.served_model) == ("without seed", "served-model")
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        assert cache.get(llm.request(interview.question)) == reply


def test_a_limit_that_is_too_large_is_neither_renamed_nor_left_out():
    error = refused(
        "max_tokens is too large: 200. This model supports at most 100 completion tokens.", param="max_tokens"
    )
    with endpoint(lambda body, n: error) as server:
        with pytest.raises(UserError, match="max_tokens is too large"):
            model(server.url).interview(questions(3), "asking")
        assert len(server.bodies) == 1


def test_the_first_answer_says_what_the_others_will_cost(lines):
    with endpoint() as server:
        model(server.url).interview(questions(12), "asking")
    assert "first answer: 50 + 100 tokens, $1.0000; 11 more like it: $11.00" in lines


def test_answers_of_another_server_under_the_same_name_are_warned_of(tmp_path, lines):
    cache = tmp_path / "answers.sqlite"
    with endpoint() as first, endpoint() as second:
        model(first.url, cache).interview(questions(3), "asking")
        model(first.url, cache).interview(questions(3), "asking")
        assert not any("were given by" in line for line in lines)
        model(second.url, cache).interview(questions(4), "asking")
        assert (len(first.bodies), len(second.bodies)) == (3, 1)
        [line] = [line for line in lines if "were given by" in line]
        assert line.startswith(
            f"3 answers of llm.model were given by {first.url} (served-model) and not by {second.url}"
        )


def test_an_error_of_every_question_ends_the_run_after_three(tmp_path, lines):
    """What hundreds of questions fail of is not one bad question."""
    answer = lambda body, n: said() if "Question 0\n" in body["messages"][0]["content"] else refused("bad request")  # noqa: E731
    with endpoint(answer) as server:
        with pytest.raises(UserError, match="does not accept the question"):
            model(server.url, chat={"max_concurrency": 1}).interview(questions(40), "asking")
        assert len(server.bodies) == 4


@pytest.mark.parametrize(
    "error",
    [
        refused("[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]"),
        refused("OpenAIException - {'error': {'message': \"Unsupported parameter: 'seed'.\", 'param': 'seed'}}"),
        refused("The following parameters are not supported: seed"),
    ],
)
def test_a_parameter_is_left_out_in_whatever_form_it_is_refused(error, tmp_path):
    with endpoint(lambda body, n: error if "seed" in body else said()) as server:
        interviews = model(server.url, temperature=0.7).interview(questions(3), "asking")
        assert len(server.bodies) == 4
    assert all(interview.usable for interview in interviews)


def test_a_limit_by_the_minute_in_the_words_of_a_quota_is_waited_for():
    said_so = "You exceeded your current quota. Please retry in 0.02s."
    with endpoint(lambda body, n: refused(said_so, 429) if n == 0 else said()) as server:
        assert all(each.usable for each in model(server.url).interview(questions(3), "asking"))


def test_words_of_a_header_are_no_secret(monkeypatch):
    monkeypatch.setenv("MY_TITLE", "Gene regulatory networks of transcription factors")
    text = "In regulatory networks of transcription factors: <Answer> [GATA1] </Answer>"
    with endpoint(lambda body, n: said(text)) as server:
        llm = model(server.url, chat={"headers": {"X-Title": "MY_TITLE"}})
        assert llm.interview(questions(1), "asking")[0].replies[0].text == text
