"""Claims of the answer cache: nothing is asked twice, by tasks or by processes, and nothing waits for the dead."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from cache_worker import kill, lines, reply, request, start

from llm4grn.llm.answers_cache.cache import AnswerCache


def test_a_claim_is_one_tasks_until_it_is_answered_or_released(cache):
    assert cache.claim(request(1)) == "ours"
    assert cache.claim(request(1)) == "theirs"
    assert cache.claim(request(2)) == "ours"
    cache.release(request(1))
    cache.release(request(1))
    assert cache.claim(request(1)) == "ours"
    cache.put(request(1), reply(1))
    assert cache.claim(request(1)) == "answered"


def test_two_caches_in_one_process_are_as_two_processes_under_any_name_of_the_file(path):
    with AnswerCache(path) as mine:
        link = path.with_name("link.sqlite")
        link.symlink_to(path)
        with AnswerCache(link) as other:
            assert [mine.claim(request(i)) for i in (1, 2)] == ["ours", "ours"]
            assert other.claim(request(1)) == "theirs"
            other.release(request(1))
            assert other.claim(request(1)) == "theirs", "a claim can be released by its owner only"
            mine.put(request(1), reply(1))
            assert other.claim(request(1)) == "answered"
            mine.close()
            assert other.claim(request(2)) == "ours", "a claim ends when its owner closes the cache"


def test_an_answer_that_comes_from_elsewhere_ends_a_claim(cache, path):
    with AnswerCache(path) as asker:
        assert asker.claim(request(1)) == "ours"
        cache.put_all([(request(1), reply(1), None)])
        assert asyncio.run(cache.wait(request(1))) == reply(1)
        assert asker.claim(request(1)) == "answered"


def test_four_processes_ask_each_question_once(path, tmp_path):
    log = tmp_path / "asked"
    processes = start("hammer", path, log, *[200] * 4)
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    asked, by = zip(*(line.split() for line in lines(log)), strict=True)
    assert Counter(asked) == Counter(str(i) for i in range(200))
    assert len(set(by)) == 4
    with AnswerCache(path) as cache:
        assert cache.get_many(request(i) for i in range(200)) == {request(i).key: reply(i) for i in range(200)}
        assert cache._database.read("SELECT * FROM claims") == []


def test_when_one_of_three_is_killed_the_others_ask_what_it_left(path, tmp_path):
    log = tmp_path / "asked"
    killed, *others = start("hammer", path, log, *[200] * 3)
    lines(log, at_least=40)
    kill(killed)
    assert [process.wait(timeout=60) for process in others] == [0, 0]
    asked = [line.split() for line in lines(log)]
    times = Counter(number for number, _ in asked)
    assert set(times) == {str(i) for i in range(200)}
    twice = {number for number, count in times.items() if count > 1}
    assert len(asked) - 200 == len(twice) <= 16, "only what the killed process had not got an answer to"
    assert twice <= {number for number, by in asked if by == str(killed.pid)}


def test_the_claims_of_a_killed_process_are_free_at_once_and_those_of_a_live_one_are_not(cache, path, tmp_path):
    log = tmp_path / "log"
    dead, alive = start("claim", path, log, 0, 10)
    try:
        assert {line.split()[1] for line in lines(log, at_least=20)} == {"ours"}
        assert {cache.claim(request(i)) for i in range(20)} == {"theirs"}
        kill(dead)
        begin = time.perf_counter()
        assert {cache.claim(request(i)) for i in range(10)} == {"ours"}
        assert time.perf_counter() - begin < 0.5
        assert {cache.claim(request(i)) for i in range(10, 20)} == {"theirs"}
        with AnswerCache(path) as other:
            assert {other.claim(request(i)) for i in range(20)} == {"theirs"}
        assert len(list(Path(f"{path}.owners").iterdir())) == 3, "ours, that of the live process, opening.lock"
        os.kill(alive.pid, signal.SIGSTOP)
        assert cache.claim(request(10)) == "theirs", "a process that is suspended is not dead"
        os.kill(alive.pid, signal.SIGCONT)
    finally:
        for process in (dead, alive):
            process.kill()
            process.wait()


def test_a_task_that_waits_for_a_process_learns_at_once_that_it_was_killed(cache, path, tmp_path):
    (holder,) = start("claim", path, tmp_path / "log", 0)
    lines(tmp_path / "log", at_least=10)

    async def main():
        waiting = asyncio.create_task(cache.wait(request(3)))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        kill(holder)
        return await asyncio.wait_for(waiting, timeout=1)

    try:
        assert asyncio.run(main()) is None
        assert cache.claim(request(3)) == "ours"
    finally:
        holder.kill()


def test_the_next_opening_forgets_what_the_dead_have_left(path, tmp_path):
    (holder,) = start("claim", path, tmp_path / "log", 0)
    lines(tmp_path / "log", at_least=10)
    kill(holder)
    with AnswerCache(path) as cache:
        assert cache._database.read("SELECT * FROM claims") == []
        assert len(list(Path(f"{path}.owners").iterdir())) == 2


def test_a_hundred_tasks_wait_for_one_answer(cache, path):
    asked = []

    async def ask(question):
        asked.append(question)
        await asyncio.sleep(0.2)
        return reply(7)

    async def main():
        with AnswerCache(path) as other:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task((cache, other)[i % 2].get_or_ask(request(7), ask), name=str(i))
                    for i in range(100)
                ]
            return [task.result() for task in tasks]

    assert asyncio.run(main()) == [reply(7)] * 100
    assert asked == [request(7)]


@pytest.mark.parametrize("failure", [RuntimeError("server"), asyncio.CancelledError()])
def test_when_the_one_that_asks_fails_or_is_cancelled_the_next_asks(cache, failure):
    calls = []

    async def ask(question):
        calls.append(question)
        await asyncio.sleep(0.05)
        if len(calls) == 1:
            raise failure
        return reply(7)

    async def main():
        tasks = [asyncio.create_task(cache.get_or_ask(request(7), ask)) for _ in range(10)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert [type(result) for result in results if result != reply(7)] == [type(failure)]
    assert len(calls) == 2


def test_waiting_ends_when_the_claim_is_released(cache):
    async def main():
        assert cache.claim(request(1)) == "ours"
        waiting = asyncio.create_task(cache.wait(request(1)))
        await asyncio.sleep(0.15)
        assert not waiting.done()
        cache.release(request(1))
        return await asyncio.wait_for(waiting, timeout=1)

    assert asyncio.run(main()) is None


def test_who_asks_again_within_the_age_shares_one_query(cache, monkeypatch):
    queries, read = [], cache._database.read
    monkeypatch.setattr(cache._database, "read", lambda *query: queries.append(query) or read(*query))
    cache.claim(request(1))
    queries.clear()
    claimed = {request(1).key}
    assert [cache._live_claims(max_age=3600) for _ in range(3)] == [claimed] * 3
    assert len(queries) == 1
    cache._live_claims(max_age=0)
    assert len(queries) == 2
