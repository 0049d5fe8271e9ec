"""The answer cache as a file: answers come back as they were, none is lost by kill -9, a full disk or bad input."""

import os
import random
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cache_worker import kill, lines, reply, request, start

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.answers_cache.jsonl import read_jsonl, write_jsonl
from llm4grn.llm.messages import Reply, Request


def test_an_answer_is_given_back_as_it_was_also_to_a_later_run(path):
    with AnswerCache(path) as cache:
        assert cache.get(request(1)) is None
        cache.put(request(1), reply(1))
        assert cache.get(request(1)) == reply(1)
    with AnswerCache(path) as cache:
        assert cache.get(request(1)) == reply(1)
        assert cache.get(replace(request(1), sample=1)) is None
        assert cache.get(replace(request(1), parameters={"temperature": 0.5})) is None


@pytest.mark.parametrize("text", ["", "a\0b", "line\r\nline\u2028", "Δ ☂ 🧬", "cut \ud83d", "'; DROP --"])
def test_any_text_survives_the_file_and_the_export(cache, tmp_path, text):
    asked = Request("m", [{"role": "user", "content": text}])
    cache.put(asked, Reply(text))
    assert cache.get(asked) == Reply(text)
    write_jsonl(tmp_path / "answers.jsonl", cache.records())
    with AnswerCache(tmp_path / "other.sqlite") as other:
        assert other.put_all(read_jsonl(tmp_path / "answers.jsonl")) == 1
        assert other.get(asked) == Reply(text)


def test_the_first_answer_stays(cache):
    cache.put(request(1), reply(1))
    cache.put(request(1), reply(2))
    assert cache.get(request(1)) == reply(1)
    assert cache.summary()["answers"] == 1


def test_many_are_looked_up_in_two_queries(cache, monkeypatch):
    asked = [replace(request(i), model="x" * 5000) for i in range(1500)]
    assert cache.get_many(asked) == {}
    for i in range(0, 1500, 2):
        cache.put(asked[i], reply(i))
    queries = []
    read = cache._database.read
    monkeypatch.setattr(cache._database, "read", lambda query, *rest: (queries.append(query), read(query, *rest))[1])
    found = cache.get_many(asked)
    assert len(queries) == 2  # by their keys, and what is missing by its keys without the limit of the length
    assert found == {asked[i].key: reply(i) for i in range(0, 1500, 2)}


def test_the_summary_adds_up_per_model(cache):
    assert cache.summary() == {"answers": 0, "cost": 0.0, "lost": 0, "models": {}}
    for i in range(4):
        cache.put(replace(request(i), model=f"m{i % 2}"), Reply("", 10, i, cost=0.5, lost=0.25 if i == 3 else None))
    models = {
        "m0": {"answers": 2, "cost": 1.0, "prompt_tokens": 20, "completion_tokens": 2, "lost": 0.0},
        "m1": {"answers": 2, "cost": 1.0, "prompt_tokens": 20, "completion_tokens": 4, "lost": 0.25},
    }
    assert cache.summary() == {"answers": 4, "cost": 2.0, "lost": 0.25, "models": models}


def test_what_was_not_recorded_stays_so_and_is_in_no_sum(cache, path, tmp_path):
    cache.put(request(1), Reply("some", finish_reason="length"))
    assert cache.get(request(1)) == Reply("some", None, None, None, "length", None)
    assert cache.summary()["models"]["gpt-4"] == {
        "answers": 1,
        "cost": None,
        "prompt_tokens": None,
        "completion_tokens": None,
        "lost": 0.0,
    }
    assert cache.summary()["cost"] is None
    cache.put(request(2), Reply("more", 10, 5, 0.0, cost=0.0))
    assert cache.get_many([request(2)]) == {request(2).key: Reply("more", 10, 5, 0.0, cost=0.0)}
    assert cache.summary() == {
        "answers": 2,
        "cost": 0.0,
        "lost": 0.0,
        "models": {"gpt-4": {"answers": 2, "cost": 0.0, "prompt_tokens": 10, "completion_tokens": 5, "lost": 0.0}},
    }
    write_jsonl(tmp_path / "answers.jsonl", cache.records())
    with AnswerCache(tmp_path / "other.sqlite") as other:
        assert other.put_all(read_jsonl(tmp_path / "answers.jsonl")) == 2
        assert other.records() == cache.records()


def test_threads_share_one_cache(cache):
    def work(first):
        for i in range(first, first + 50):
            assert cache.claim(request(i)) == "ours"
            cache.put(request(i), reply(i))

    threads = [threading.Thread(target=work, args=(50 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache.get_many(request(i) for i in range(200))) == 200


def test_closing_twice_is_harmless_and_leaves_no_lock_and_no_journal(path):
    cache, other = AnswerCache(path), AnswerCache(path)
    assert len(list(Path(f"{path}.owners").iterdir())) == 3
    for opened in (cache, other, cache):
        opened.close()
    names = {file.name for file in path.parent.rglob("*")}
    assert names == {"answers.sqlite", "answers.sqlite.owners", "opening.lock"}
    with pytest.raises(sqlite3.ProgrammingError):
        cache.get(request(1))


@pytest.mark.slow
def test_no_acknowledged_answer_is_lost_by_kill_9(path, tmp_path):
    log = tmp_path / "acknowledged"
    for turn in range(10):
        before = len(lines(log))
        (writer,) = start("put", path, log, 100_000 * turn)
        lines(log, at_least=before + 1)
        time.sleep(random.uniform(0, 0.1))
        kill(writer)
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        acknowledged = [int(line) for line in lines(log)]
        with AnswerCache(path) as cache:
            found = cache.get_many(request(i) for i in acknowledged)
            assert found == {request(i).key: reply(i) for i in acknowledged}
            assert len(found) <= cache.summary()["answers"] <= len(found) + turn + 1


@pytest.mark.slow
def test_many_processes_open_and_close_a_new_file_at_once(path, tmp_path):
    processes = start("open_and_close", path, tmp_path / "log", *[10] * 6)
    assert [process.wait(timeout=60) for process in processes] == [0] * 6
    with AnswerCache(path) as cache:
        assert cache.summary()["answers"] == 6


def test_a_full_disk_is_one_clear_line_and_loses_no_answer(path, tmp_path):
    log = tmp_path / "log"
    (writer,) = start("fill", path, log, 300_000)
    assert writer.wait(timeout=30) == 0
    *acknowledged, error = lines(log)
    assert error.startswith(f"answer cache {path}: ")
    assert "the answers stored so far are safe" in error
    assert len(acknowledged) > 10
    with AnswerCache(path) as cache:
        assert cache.get_many(request(int(i)) for i in acknowledged) == {
            request(int(i)).key: reply(int(i)) for i in acknowledged
        }
        cache.put(request(100_001), reply(1))


@pytest.mark.parametrize("content", [b"genes\tcells\n" * 100, b"SQLite format 3\0" + b"\7" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"answers\.sqlite: .*not a database; .*choose another path"):
        AnswerCache(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("ours", "change", "message"),
    [
        (
            False,
            "CREATE TABLE runs (id); PRAGMA user_version = 1",
            "a database of another program; choose another path",
        ),
        (True, "PRAGMA user_version = 3", "version 3, .* up to 2; update llm4grn"),
    ],
    ids=["of another program", "of a newer version"],
)
def test_a_database_that_we_do_not_know_is_refused_and_left_as_it_is(path, ours, change, message):
    if ours:
        AnswerCache(path).close()
    connection = sqlite3.connect(path)
    connection.executescript(change)
    connection.close()
    content = path.read_bytes()
    with pytest.raises(UserError, match=rf"answers\.sqlite: {message}"):
        AnswerCache(path)
    assert path.read_bytes() == content


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/answers.sqlite: cannot write there \(.*\); choose a path in a writable"):
        AnswerCache(tmp_path / "file" / "answers.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder: unable to open database file; choose a path to a file"):
        AnswerCache(tmp_path / "folder")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    (tmp_path / "folder").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"cannot write there \(Permission denied\)"):
        AnswerCache(tmp_path / "folder" / "answers.sqlite")


def test_an_empty_file_becomes_a_cache(path):
    path.touch()
    with AnswerCache(path) as cache:
        cache.put(request(1), reply(1))
        assert cache.get(request(1)) == reply(1)


def test_export_and_import_keep_everything_in_one_order(cache, tmp_path):
    asked = [replace(request(i), model=f"m{i % 3}", sample=i % 2, parameters={"temperature": i / 7}) for i in range(50)]
    for i in random.sample(range(50), 50):
        cache.put(asked[i], reply(i))
    first, second = tmp_path / "first.jsonl", tmp_path / "new" / "second.jsonl"
    assert write_jsonl(first, cache.records()) == 50
    with AnswerCache(tmp_path / "other.sqlite") as other:
        other.put(asked[0], Reply("another answer"))
        assert other.put_all(read_jsonl(first)) == 49
        assert other.put_all(read_jsonl(first)) == 0
        assert other.get(asked[0]) == Reply("another answer")
    with AnswerCache(tmp_path / "third.sqlite") as third:
        assert third.put_all(read_jsonl(first)) == 50
        assert third.get_many(asked) == {asked[i].key: reply(i) for i in range(50)}
        write_jsonl(second, third.records())
    assert second.read_bytes() == first.read_bytes()


def test_one_broken_line_imports_nothing(cache, tmp_path):
    for i in range(3):
        cache.put(request(i), reply(i))
    write_jsonl(tmp_path / "answers.jsonl", cache.records())
    (tmp_path / "broken.jsonl").write_text((tmp_path / "answers.jsonl").read_text() + '{"text": "half')
    with AnswerCache(tmp_path / "other.sqlite") as other:
        with pytest.raises(UserError, match=r"broken\.jsonl, line 4: "):
            other.put_all(read_jsonl(tmp_path / "broken.jsonl"))
        assert other.summary()["answers"] == 0


# ---------------------------------------------------------------- under another limit


def limited(max_tokens, name="max_tokens", i=0):
    return Request("m", [{"role": "user", "content": f"Question {i}"}], {"temperature": 0, name: max_tokens})


@pytest.mark.parametrize(
    ("stored", "reply", "asked", "found"),
    [
        (limited(100), Reply("whole", completion_tokens=90), limited(4000), True),
        (limited(100), Reply("whole", completion_tokens=90), limited(4000, "max_completion_tokens"), True),
        (limited(100), Reply("", finish_reason="length"), limited(4000), False),
        (limited(100), Reply("", finish_reason="length"), limited(100), True),
        (limited(100), Reply("whole", completion_tokens=90), limited(95), True),
        (limited(100), Reply("whole", completion_tokens=90), limited(80), False),
        (limited(100), Reply("whole"), limited(80), False),
        (limited(100), Reply("whole"), limited(4000, i=1), False),
    ],
)
def test_a_whole_answer_holds_under_any_limit_that_admits_it_and_a_cut_one_under_its_own(
    cache, stored, reply, asked, found
):
    cache.put(stored, reply)
    assert cache.get(asked) == (reply if found else None)
    assert cache.get_many([asked]) == ({asked.key: reply} if found else {})
    assert cache.claim(asked) == ("answered" if found else "ours")


def test_a_file_of_version_1_is_brought_up_to_date(path):
    answered = Reply("whole", 10, 5, 0.5, "stop", 0.25)
    with AnswerCache(path) as cache:
        cache.put(limited(100), answered)
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP TABLE batches; DROP TABLE batched;"
        "DROP INDEX answers_by_base; ALTER TABLE answers DROP COLUMN base; ALTER TABLE answers DROP COLUMN details;"
        "PRAGMA user_version = 1"
    )
    connection.close()
    for _ in range(2):
        with AnswerCache(path) as cache:
            assert cache.get(limited(100)) == cache.get(limited(4000)) == answered
            cache.put(limited(7, i=1), replace(answered, served_model="m-2025", adapted="without seed", lost=0.5))
            assert cache.get(limited(7, i=1)).served_model == "m-2025"


def test_all_figures_of_an_answer_are_exported_and_imported(cache, tmp_path):
    said = Reply("x", 10, 5, 0.5, "stop", 0.25, 8, 3, "m-2025", 0.5, "max_tokens as max_completion_tokens")
    cache.put(request(1), said)
    write_jsonl(tmp_path / "answers.jsonl", cache.records())
    [(_, read, _)] = read_jsonl(tmp_path / "answers.jsonl")
    assert read == said


def test_the_folders_of_the_file_are_made(tmp_path):
    with AnswerCache(tmp_path / "a" / "b" / "answers.sqlite") as cache:
        assert cache.path.is_file()
