"""The record of a job says how it ended, also when its process could not."""

import os
from pathlib import Path

import pytest

from llm4grn.sweep.records import read_record, record_path, remove_record, run_recorded

JOB = ["seed=1", "graph.k=2"]


def run(sweep: Path, job) -> None:
    run_recorded(3, JOB, sweep, job, one_line=str)


def test_a_finished_job_tells_its_folder(tmp_path):
    run(tmp_path, lambda: tmp_path / "run")
    record = read_record(tmp_path, JOB)
    assert (record.number, record.status, record.folder) == (3, "done", str(tmp_path / "run"))
    assert record.overrides == tuple(JOB)
    assert record.seconds >= 0


def test_an_error_stops_at_the_record(tmp_path):
    run(tmp_path, lambda: 1 / 0)
    record = read_record(tmp_path, JOB)
    assert (record.status, record.error, record.folder) == ("failed", "division by zero", None)
    assert "ZeroDivisionError" in Path(record.traceback).read_text()
    remove_record(tmp_path, JOB)
    assert read_record(tmp_path, JOB) is None
    assert not Path(record.traceback).exists()


def test_an_interrupt_ends_the_sweep(tmp_path):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupt)
    assert read_record(tmp_path, JOB).status == "running"


def test_a_killed_process_leaves_word_that_it_ran(tmp_path):
    if (child := os.fork()) == 0:
        run(tmp_path, lambda: os._exit(9))
    os.waitpid(child, 0)
    assert read_record(tmp_path, JOB).status == "running"


def test_the_place_of_a_record_does_not_depend_on_the_order_of_the_words(tmp_path):
    assert record_path(tmp_path, JOB) == record_path(tmp_path, JOB[::-1])
    assert record_path(tmp_path, JOB) != record_path(tmp_path, ["seed=2", "graph.k=2"])
