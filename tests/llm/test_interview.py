"""An interview with a real server: asked again with the reason, remembered, paid for once and within the purse."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from interviewing import asked, dictated, model, question, symbols
from server import running_server

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.parsing.answers import Answer
from llm4grn.llm.questions import Interview

KEY = "sk-secret-9876543210"


# ---------------------------------------------------------------- asked again


def test_an_unusable_answer_is_asked_again_with_the_reason(path):
    with running_server(brain="echo") as server:
        [interview] = model(server, path).interview([dictated("[GATA1]", "[GATA1, SPI1]")], "asking")
    assert interview.usable
    assert symbols(interview) == ("GATA1", "SPI1")
    first, second = interview.replies
    assert first.text == "<Answer> [GATA1] </Answer>"
    assert "I want to read <Answer> [GATA1, SPI1] </Answer> here" in second.text  # of the server: it was told
    longest = max((record["messages"] for record in asked(path)), key=len)
    assert [message["role"] for message in longest] == ["user", "assistant", "user"]
    assert [message["content"] for message in longest[:2]] == [first.text, first.text]


def test_when_patience_is_over_the_best_answer_is_kept_and_said_to_be_unusable(path):
    said = ["[GATA1]", "[GATA1, SPI1]", "[PAX5]", "[GATA1, SPI1, PAX5]"]
    with running_server(brain="echo") as server:
        [interview] = model(server, path, max_repairs=2).interview([dictated(*said)], "asking")
        assert server.stats()["requests"] == 3
    assert not interview.usable
    assert symbols(interview) == ("GATA1", "SPI1")
    assert len(interview.replies) == 3


def test_without_repairs_each_question_is_asked_once(path):
    with running_server(brain="echo") as server:
        [interview] = model(server, path, max_repairs=0).interview([dictated("[GATA1]", "[SPI1]")], "asking")
        assert server.stats()["requests"] == 1
    assert (interview.usable, symbols(interview), len(interview.replies)) == (False, ("GATA1",), 1)


def test_a_model_that_says_nothing_is_asked_again_and_leaves_an_answer_that_was_not_found(path):
    complaint = lambda answers: None if answers[""].found else "nothing was there"  # noqa: E731
    with running_server(faults="empty") as server:
        [interview] = model(server, path).interview([question(complaint=complaint)], "asking")
        assert server.stats()["did"] == {"empty": 3}
    assert not interview.usable
    assert interview.answers == {"": Answer()}
    contents = [message["content"] for record in asked(path) for message in record["messages"]]
    assert all(contents)  # servers refuse empty messages


def test_of_many_questions_those_that_need_it_are_repaired(path):
    complaint = lambda answers: None if answers[""].found else "nothing was there"  # noqa: E731
    with running_server(faults="empty@0.3", latency=0.002) as server:
        interviews = model(server, path).interview([question(i, complaint) for i in range(60)], "asking")
        did = server.stats()["did"]
    n_replies = [len(interview.replies) for interview in interviews]
    assert sum(n_replies) == sum(did.values())
    assert did["answer"] == sum(interview.usable for interview in interviews)
    assert set(n_replies) == {1, 2, 3}
    assert all(interview.usable for interview in interviews if len(interview.replies) < 3)


def test_answers_are_in_the_order_of_the_questions(path):
    with running_server(brain="echo", faults="slow@0.5", latency=0.005) as server:
        chat = {"max_concurrency": 8}
        interviews = model(server, path, chat=chat).interview([question(i) for i in range(40)], "asking")
        assert server.stats()["did"].keys() == {"slow", "answer"}
    assert [interview.replies[0].text.split("\n")[0] for interview in interviews] == [
        f"Question {i}" for i in range(40)
    ]
    assert [interview.question.subject for interview in interviews] == [str(i) for i in range(40)]


# ---------------------------------------------------------------- remembered


def test_a_second_interview_asks_nothing_and_is_the_same(path):
    def said(interview: Interview):
        return interview.answers, interview.replies, interview.usable

    complaint = lambda answers: None if answers[""].found else "nothing was there"  # noqa: E731
    with running_server(faults="empty@0.3") as server:
        first, second = (
            model(server, path).interview([question(i, complaint) for i in range(20)], "asking") for _ in range(2)
        )
        assert server.stats()["requests"] == sum(len(interview.replies) for interview in first) > 20
    assert [*map(said, first)] == [*map(said, second)]


def test_the_same_question_twice_is_asked_once(path):
    with running_server(latency=0.05) as server:
        one, other = model(server, path).interview([question(), question(subject="again")], "asking")
        assert server.stats()["requests"] == 1
    assert one.replies == other.replies


def test_without_a_cache_nothing_is_remembered():
    with running_server() as server:
        for _ in range(2):
            model(server).interview([question()], "asking")
        assert server.stats()["requests"] == 2


def test_address_limits_and_prices_are_no_part_of_what_is_remembered(path):
    with running_server() as first, running_server() as second:
        model(first, path).interview([question()], "asking")
        chat = {"max_concurrency": 2, "price_prompt": 5, "timeout": 3}
        model(second, path, chat=chat, max_cost=0).interview([question()], "asking")  # what is known costs nothing
        assert second.stats()["requests"] == 0


def test_it_works_where_an_event_loop_is_running_as_in_a_notebook(path):
    async def cell():
        return model(server, path).interview([question(i) for i in range(3)], "asking")

    with running_server() as server:
        assert [len(interview.replies) for interview in asyncio.run(cell())] == [1, 1, 1]


def test_the_log_says_what_was_asked_and_spent(path):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("llm4grn")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with running_server(brain="first", k=2) as server:  # 5 words per answer
            llm = model(server, path, chat={"price_completion": 100_000})
            llm.interview([question(0)], "asking")
            llm.interview([question(0), question(1)], "asking")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert lines == [f"{n} questions: 1 new requests to tester, $0.4000" for n in (1, 2)]


# ---------------------------------------------------------------- paid for


@pytest.mark.parametrize("max_concurrency", [1, 4, 32])
def test_it_stops_before_the_purse_is_empty_and_goes_on_from_there(path, max_concurrency):
    # A question may cost $1.00, at 10 tokens of $0.1, and does cost $0.40, for 4 words: nine leave 4.9 - 3.6 > 1, ten
    # do not.
    prices = {"price_completion": 100_000, "max_concurrency": max_concurrency}
    questions = [question(i) for i in range(40)]
    with running_server(brain="first", k=2, latency=0.01) as server:
        with pytest.raises(UserError) as caught:
            model(server, path, chat=prices, max_cost=4.9).interview(questions, "asking")
        assert str(caught.value).startswith("llm.max_cost=4.9: $4.0000 is spent")
        assert "\n" not in str(caught.value)
        assert server.stats()["did"] == {"answer": 10}
        assert len(asked(path)) == 10
        assert sum(record["cost"] for record in asked(path)) == pytest.approx(4.0)

        interviews = model(server, path, chat=prices, max_cost=100).interview(questions, "asking")
        assert server.stats()["did"] == {"answer": 40}
        assert set(server.successes().values()) == {1}
    assert all(interview.usable for interview in interviews)


def test_repairs_are_paid_from_the_same_purse(path):
    with running_server(brain="echo") as server:
        llm = model(server, path, chat={"price_completion": 100_000}, max_cost=1.2)
        with pytest.raises(UserError, match=r"llm\.max_cost=1\.2: \$0\.4000 is spent"):
            llm.interview([dictated("[GATA1, SPI1]", "[GATA1]")], "asking")
        assert server.stats()["requests"] == 1


def test_a_purse_too_small_for_one_question_asks_none(path):
    with running_server() as server:
        llm = model(server, path, chat={"price_completion": 100_000}, max_cost=0.9)
        with pytest.raises(UserError, match=r"llm\.max_cost=0\.9"):
            llm.interview([question(i) for i in range(40)], "asking")
        assert server.stats()["requests"] == 0


# ---------------------------------------------------------------- ended


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [("unauthorized", "SOME_KEY"), ("quota", "no credit"), ("unknown_model", "llm.model"), ("echo_key", "llm.model")],
)
def test_what_asking_again_cannot_repair_ends_it_at_once_with_one_line(path, monkeypatch, fault, remedy):
    monkeypatch.setenv("SOME_KEY", KEY)
    with running_server(faults=fault) as server:
        llm = model(server, path, chat={"api_key_env": "SOME_KEY", "max_concurrency": 4})
        with pytest.raises(UserError) as caught:
            llm.interview([question(i) for i in range(40)], "asking")
        assert server.stats()["requests"] <= 4
    message = str(caught.value)
    assert remedy in message
    assert "\n" not in message
    assert KEY not in message + repr(caught.value.__context__) + repr(llm)
    with running_server() as healthy:  # and nobody is left waiting for an answer that will not come
        assert len(model(healthy, path).interview([question(i) for i in range(40)], "asking")) == 40


@pytest.mark.parametrize("fatal", ["quota", "bad_request"])
def test_what_is_under_way_when_it_ends_is_waited_for_and_stored(path, fatal):
    """A fatal error after 0.1 s, while others are answered after 0.5 s: those are paid for."""
    with running_server(faults=f"slow,{fatal}", latency=0.1, clean_first=1) as server:
        started = time.monotonic()
        with pytest.raises(UserError, match=r"no credit|does not accept"):
            model(server, path, chat={"max_concurrency": 12}).interview([question(i) for i in range(40)], "asking")
        seconds = time.monotonic() - started
        did = server.stats()["did"]
    assert did[fatal] >= 1
    assert did["slow"] >= 1
    # Nothing was sent after the error; of bad requests, the third is one.
    assert 12 <= did["slow"] + did[fatal] <= 12 + 2 * (fatal == "bad_request")
    assert len(asked(path)) == did["slow"] + 1
    assert seconds < 3


def test_what_was_not_sent_when_it_ends_is_not_waited_for(path):
    """Neither those that the server told to wait, nor those whose turn has not come."""
    with running_server(faults="rate_limit,quota", retry_after=30, clean_first=1) as server:
        llm = model(server, path, chat={"max_concurrency": 12, "requests_per_minute": 8})
        started = time.monotonic()
        with pytest.raises(UserError, match="no credit"):
            llm.interview([question(i) for i in range(40)], "asking")
        assert time.monotonic() - started < 5
        assert server.stats()["did"].keys() == {"answer", "rate_limit", "quota"}
        assert server.stats()["requests"] <= 8


def test_an_answer_that_never_comes_is_waited_for_until_its_time_out(path):
    with running_server(faults="hang,quota", latency=0.1, clean_first=1) as server:
        started = time.monotonic()
        with pytest.raises(UserError, match="no credit"):
            model(server, path, chat={"max_concurrency": 12, "timeout": 0.8}).interview(
                [question(i) for i in range(40)], "asking"
            )
        assert 0.7 < time.monotonic() - started < 3
        assert server.stats()["requests"] == 13


def test_what_another_job_is_asking_is_not_waited_for_when_it_ends(path):
    with running_server(faults="quota") as server, AnswerCache(path) as other:
        llm = model(server, path, chat={"max_concurrency": 2})
        first, *_ = questions = [question(i) for i in range(2)]
        assert other.claim(llm.request(first)) == "ours"
        with pytest.raises(UserError, match="no credit"):
            llm.interview(questions, "asking")


def test_two_jobs_with_the_same_questions_share_the_work(path):
    """Each has four questions under way; if the two went in step, they would be the same four."""
    questions = [question(i) for i in range(40)]
    with running_server(latency=0.2) as server, ThreadPoolExecutor() as threads:
        model(server, path).interview([question(40)], "importing")
        jobs = [model(server, path, chat={"max_concurrency": 4}) for _ in range(2)]
        one, other = threads.map(lambda job: job.interview(questions, "asking"), jobs)
        assert server.stats()["most_at_once"] > 4
        assert server.stats()["did"] == {"answer": 41}
        assert set(server.successes().values()) == {1}
    assert [interview.replies for interview in one] == [interview.replies for interview in other]
    assert [interview.question.subject for interview in one] == [str(i) for i in range(40)]
