"""The Batch API against a real HTTP server: nothing lost, nothing asked twice, whichever process dies when."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from endpoint import endpoint, refused, said
from interviewing import GENES
from test_endpoints import model, questions

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.batches import BatchRegister
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.local import LocalChat
from llm4grn.llm.messages import Reply
from llm4grn.llm.openai.batches import Batches

ROOT = Path(__file__).parents[2]


def batching(url, path, **options):
    chat = {"batch_poll": 0.001, **options.pop("chat", {})}
    return model(url, path, batch=True, chat=chat, **options)


def n_asked(server):
    """How often each question was asked, in batches and by itself."""
    return {n + 1 for n in server.attempts.values()}


def test_one_question_goes_first_and_all_others_in_one_batch_at_half_the_price(tmp_path):
    with endpoint() as server:
        interviews = batching(server.url, tmp_path / "answers.sqlite").interview(questions(12), "asking")
        assert len(server.batches) == 1
        assert (len(server.bodies), n_asked(server)) == (12, {1})
        lines = [json.loads(line) for line in server.files["file-0"].splitlines()]
    assert [interview.question.subject for interview in interviews] == [str(i) for i in range(12)]
    assert [interview.replies[0].cost for interview in interviews] == [1.0] + [0.5] * 11
    assert {(line["method"], line["url"], line["body"]["model"]) for line in lines} == {
        ("POST", "/v1/chat/completions", "test-model")
    }
    assert len({line["custom_id"] for line in lines}) == 11


def test_answers_that_cannot_be_used_are_repaired_in_another_batch(tmp_path):
    def answer(body, n):
        return said("I do not know.") if "Question 3\n" in body["messages"][-1]["content"] else said()

    with endpoint(answer) as server:
        interviews = batching(server.url, tmp_path / "answers.sqlite").interview(questions(12), "asking")
        assert (len(server.batches), len(server.bodies)) == (2, 13)
    assert [len(interview.replies) for interview in interviews] == [1, 1, 1, 2] + [1] * 8
    assert all(interview.usable for interview in interviews)


def test_what_the_first_question_teaches_about_parameters_holds_for_the_batch(tmp_path):
    answer = lambda body, n: said() if "temperature" not in body else refused("no temperature here")  # noqa: E731
    with endpoint(answer) as server:
        batching(server.url, tmp_path / "answers.sqlite").interview(questions(5), "asking")
        assert ["temperature" in body for body in server.bodies] == [True] + [False] * 5


def test_a_parameter_that_is_refused_in_a_batch_is_left_out_of_the_next(tmp_path):
    answer = lambda body, n: said() if "temperature" not in body else refused("no temperature here")  # noqa: E731
    with endpoint(answer) as server:
        path = tmp_path / "answers.sqlite"
        submit(server.url, path, questions(5))  # by a process that did not ask a first question
        interviews = batching(server.url, path).interview(questions(5), "asking")
        assert ["temperature" in body for body in server.bodies] == [True] * 5 + [False] * 5
    assert all(interview.usable for interview in interviews)


def test_a_question_that_is_declined_is_one_and_one_that_fails_is_submitted_again(tmp_path):
    def answer(body, n):
        content = body["messages"][0]["content"]
        if "Question 2\n" in content:
            return refused("flagged", code="content_filter")
        return (500, {"error": {"message": "oops"}}) if "Question 3\n" in content and n == 0 else said()

    with endpoint(answer) as server:
        interviews = batching(server.url, tmp_path / "answers.sqlite").interview(questions(6), "asking")
        assert (len(server.batches), len(server.bodies)) == (2, 7)
    assert [interview.usable for interview in interviews] == [True, True, False, True, True, True]


def test_a_budget_is_kept_by_smaller_batches(tmp_path):
    """Two dollars at most for one answer, one in a batch, of which it costs a half."""
    with endpoint() as server:
        path = tmp_path / "answers.sqlite"
        with pytest.raises(UserError, match=r"llm\.max_cost=3: \$\d"):
            batching(server.url, path, max_cost=3).interview(questions(12), "asking")
        sizes = [len(server.files[batch["input_file_id"]].splitlines()) for batch in server.batches.values()]
        assert sizes == [2, 1]  # of 3 the first question costs 1, so 2 are left, then 1
        assert n_asked(server) == {1}


def submit(url, path, asked, confirm=True):
    """Submit a batch as a process that ends right after it, or before the server's answer is stored."""
    import asyncio

    llm = batching(url, path)

    async def main():
        with AnswerCache(path) as cache:
            register = BatchRegister(cache, llm.chat.base_url)
            token, mine = register.reserve([llm.request(question) for question in asked])
            async with llm.chat:
                name = await Batches(llm.chat).submit(mine, token)
            if confirm:
                register.confirm(token, name)

    asyncio.run(main())


@pytest.mark.parametrize("confirm", [True, False], ids=["after it is known", "before its name is stored"])
def test_a_batch_survives_the_end_of_its_process(tmp_path, confirm):
    path = tmp_path / "answers.sqlite"
    with endpoint() as server:
        submit(server.url, path, questions(20), confirm)
        interviews = batching(server.url, path).interview(questions(20), "asking")
        assert (len(server.batches), len(server.bodies), n_asked(server)) == (1, 20, {1})
    assert all(interview.usable for interview in interviews)


def test_a_job_without_batches_does_not_pay_again_for_what_is_in_one(tmp_path):
    with endpoint() as server:
        path = tmp_path / "answers.sqlite"
        submit(server.url, path, questions(12)[4:])
        n_sent = len(server.bodies)
        with pytest.raises(UserError, match=r"8 of these questions are in a batch .*; add llm\.batch=true"):
            model(server.url, path).interview(questions(12), "asking")
        assert len(server.bodies) == n_sent
        assert len(model(server.url, path).interview(questions(4), "asking")) == 4  # the others are free
        batching(server.url, path).interview(questions(12), "asking")
        assert all(interview.usable for interview in model(server.url, path).interview(questions(12), "asking"))
        assert (len(server.bodies), n_asked(server)) == (12, {1})


def test_questions_of_a_process_that_dies_before_it_submits_are_free(tmp_path):
    path = tmp_path / "answers.sqlite"
    with endpoint() as server:
        llm = batching(server.url, path)
        with AnswerCache(path) as cache:
            BatchRegister(cache, llm.chat.base_url).reserve([llm.request(question) for question in questions(20)])
        assert len(llm.interview(questions(20), "asking")) == 20
        assert (len(server.batches), n_asked(server)) == (1, {1})


def test_another_process_reserves_only_what_nobody_asks(tmp_path):
    path = tmp_path / "answers.sqlite"
    llm = batching("http://localhost:1/v1", path)
    requests = [llm.request(question) for question in questions(4)]
    with AnswerCache(path) as one, AnswerCache(path) as other:
        one.put(requests[0], Reply("x"))
        assert one.claim(requests[1]) == "ours"
        token, mine = BatchRegister(one, "here").reserve(requests[2:3])
        register = BatchRegister(other, "here")
        assert [request.key for request in register.reserve(requests)[1]] == [requests[3].key]
        assert [each.is_orphan for each in register.open(requests)] == [False, False]
        assert register.requests(token) == {requests[2].key: mine[0]}
        one.close()
        assert {each.token: each.is_orphan for each in register.open(requests)}[token]


def test_a_batch_that_the_server_refuses_is_one_line_and_can_be_submitted_again(tmp_path):
    with endpoint(polls_until_done=10**9) as server:
        path = tmp_path / "answers.sqlite"
        submit(server.url, path, questions(5))
        server.batches["batch-0"] |= {"status": "failed", "errors": {"data": [{"message": "too many\nlines"}]}}
        with pytest.raises(UserError, match=r"batch batch-0: too many lines; .* submits the others again"):
            batching(server.url, path).interview(questions(5), "asking")
        server.polls_until_done = 1
        assert len(batching(server.url, path).interview(questions(5), "asking")) == 5


def test_without_a_batch_api_or_a_file_of_answers_it_says_so(tmp_path):
    with endpoint() as server:
        with pytest.raises(UserError, match="llm=tester has no Batch API"):
            batching(server.url, tmp_path / "a", chat={"price_batch": None}).interview(questions(2), "asking")
        with pytest.raises(UserError, match=r"needs a file of answers; set llm\.cache"):
            batching(server.url, None).interview(questions(2), "asking")
        llm = batching(server.url, tmp_path / "a")
        object.__setattr__(llm, "chat", LocalChat())
        with pytest.raises(UserError, match="no Batch API"):
            llm.interview(questions(2), "asking")
        assert server.bodies == []


CLIENT = """
import sys
sys.path[:0] = {paths!r}
from test_batches import batching, questions
used = batching({url!r}, {path!r}).interview(questions({n}), "asking")
print(sum(each.usable for each in used))
"""


@pytest.mark.slow
def test_1000_questions_are_submitted_by_a_process_that_is_killed_and_collected_by_the_next(tmp_path):
    signal.alarm(300)  # the process that is killed has to start first, on whatever machine
    path, n = tmp_path / "answers.sqlite", 1000
    with endpoint(polls_until_done=10**9) as server:
        code = CLIENT.format(paths=[str(ROOT), str(ROOT / "tests" / "llm")], url=server.url, path=str(path), n=n)
        client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        while not any(batch["polls"] for batch in server.batches.values()) and client.poll() is None:
            time.sleep(0.01)
        client.kill()
        client.communicate()
        assert client.returncode == -signal.SIGKILL
        server.polls_until_done = 1
        interviews = batching(server.url, path).interview(questions(n), "asking")
        assert len(server.batches) == 1
        assert len(server.attempts) == len(server.bodies) == n  # none lost
        assert n_asked(server) == {1}  # none twice
    assert sum(interview.usable for interview in interviews) == n
    assert all(set(interview.answers[""].symbols) < set(GENES) for interview in interviews)


# -- servers with faults ----------------------------------------------------------------------------------------------


def test_a_server_that_keeps_no_metadata_is_not_asked_twice(tmp_path):
    """The process dies between the submission and its confirmation: the batch is known by the name of its file."""
    with endpoint(with_metadata=False) as server:
        path = tmp_path / "answers.sqlite"
        submit(server.url, path, questions(6))
        with AnswerCache(path) as cache, cache._database.transaction() as connection:
            connection.execute("UPDATE batches SET id = ''")
        interviews = batching(server.url, path).interview(questions(6), "asking")
        assert all(interview.usable for interview in interviews)
        assert (len(server.batches), n_asked(server)) == (1, {1})


@pytest.mark.parametrize("gone", ["batch", "file"])
def test_what_is_gone_at_the_server_is_said_and_can_be_asked_again(gone, tmp_path):
    with endpoint() as server:
        path = tmp_path / "answers.sqlite"
        submit(server.url, path, questions(6))
        if gone == "batch":
            server.batches.clear()
        else:
            server.work(next(iter(server.batches.values())))
            server.files = {name: text for name, text in server.files.items() if name == "file-0"}
        with pytest.raises(UserError, match="after a day it is given up"):  # perhaps with another key
            batching(server.url, path).interview(questions(6), "asking")
        with AnswerCache(path) as cache, cache._database.transaction() as connection:
            assert connection.execute("SELECT COUNT(*) FROM batches").fetchone() == (1,)
            connection.execute("UPDATE batches SET time = '2026-01-01T00:00:00+00:00'")
        with pytest.raises(UserError, match="is gone at the server; the same command asks its questions again"):
            batching(server.url, path).interview(questions(6), "asking")
        assert all(interview.usable for interview in batching(server.url, path).interview(questions(6), "asking"))


@pytest.mark.parametrize("fault", ["status null", "status word", "twice", "no line of the protocol"])
def test_one_bad_line_costs_one_question(fault, tmp_path):
    def changed(text):
        lines = [json.loads(line) for line in text.splitlines()]
        if fault == "twice":
            return "\n".join(map(json.dumps, [*lines, *lines]))
        if fault == "no line of the protocol":
            return "\n".join(["{", *map(json.dumps, lines[1:])])
        lines[0]["response"]["status_code"] = None if fault == "status null" else "abc"
        return "\n".join(map(json.dumps, lines))

    with endpoint() as server:
        store = server.store
        server.store = lambda content, filename="f": store(changed(content) if filename == "f" else content, filename)
        path = tmp_path / "answers.sqlite"
        interviews = batching(server.url, path).interview(questions(6), "asking")
        assert all(interview.usable for interview in interviews)
        # The first line of each batch is lost, and its question asked in the next and then by itself.
        assert len(server.bodies) == (6 if fault == "twice" else 8)


def test_a_question_that_a_batch_does_not_accept_costs_that_question(tmp_path):
    answer = lambda body, n: refused("bad") if "Question 3\n" in body["messages"][0]["content"] else said()  # noqa: E731
    with endpoint(answer) as server:
        interviews = batching(server.url, tmp_path / "answers.sqlite").interview(questions(12), "asking")
    assert [interview.usable for interview in interviews] == [i != 3 for i in range(12)]


def test_answers_of_a_batch_that_cannot_be_read_count_as_paid(tmp_path):
    """By their highest cost: one dollar each; the first question costs one."""
    answer = lambda body, n: said() if "Question 0\n" in body["messages"][0]["content"] else '{"choices": ['  # noqa: E731
    with endpoint(answer) as server, pytest.raises(UserError, match=r"llm\.max_cost=5: \$5\.0000 is spent"):
        batching(server.url, tmp_path / "answers.sqlite", max_cost=5).interview(questions(5), "asking")
    assert len(server.bodies) == 5


@pytest.mark.parametrize("asked", ["upload", "create", "poll"])
@pytest.mark.parametrize("answer", ["<html></html>", {"object": "batch"}, "{"])
def test_an_answer_about_a_batch_that_is_none_is_one_line(asked, answer, tmp_path):
    with endpoint() as server:
        setattr(server, asked, lambda *_: answer)
        with pytest.raises(UserError, match="batches: an answer that is not of the protocol") as caught:
            batching(server.url, tmp_path / "answers.sqlite").interview(questions(3), "asking")
    assert "\n" not in str(caught.value)
