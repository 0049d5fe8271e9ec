"""The plan counts every stage once, and times it by what stages like it took."""

import time
from pathlib import Path

import pytest

from llm4grn.store import Stage, Store
from llm4grn.sweep.plan import Plan, aligned

DATA = Stage("data", 1, {"seed": 1})
OTHER = Stage("data", 1, {"seed": 2})
GRN = Stage("grn", 1, {"method": "a"}, {"data": DATA})


def build(folder: Path) -> None:
    (folder / "result").write_text("x" * 1000)


def test_a_stage_that_two_jobs_want_is_to_run_once(tmp_path):
    plan = Plan(Store(tmp_path), {0: [DATA, GRN], 1: [DATA]}, [])
    assert plan.to_run == [DATA, GRN]
    plan.store.get_or_run(DATA, build)
    assert plan.to_run == [GRN]


def test_time_is_that_of_stages_which_differ_in_the_seed_only(tmp_path):
    store = Store(tmp_path)
    store.get_or_run(DATA, lambda folder: time.sleep(0.2))
    (seconds,) = store.durations(OTHER)
    assert 0.2 <= seconds < 0.7
    assert store.durations(Stage("data", 1, {"seed": 1, "genes": 5})) == []
    assert store.durations(Stage("data", 2, {"seed": 1})) == []


def test_time_of_a_stage_is_without_that_of_the_stages_it_asks_for(tmp_path):
    store = Store(tmp_path)
    store.get_or_run(GRN, lambda folder: store.get_or_run(DATA, lambda folder: time.sleep(0.5)))
    assert store.durations(GRN)[0] < 0.3
    assert store.durations(DATA)[0] >= 0.5


def test_time_of_a_stage_that_was_interrupted_is_not_recorded(tmp_path):
    store = Store(tmp_path)

    def fail(folder: Path) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.get_or_run(DATA, fail)
    store.get_or_run(DATA, build)
    assert store.durations(DATA) == []


def test_a_table_has_its_columns_below_each_other():
    assert aligned([["a", "number"], ["long name", "1"]]) == "a          number\n-----------------\nlong name       1"


def test_a_stage_that_waits_for_some_answers_says_so(tmp_path):
    asked = Stage("grn", 1, {"method": "b"}, {"data": DATA})
    told = Plan(Store(tmp_path), {0: [DATA, GRN, asked]}, [], asking={asked.key}).text([], "grid")
    assert "~10 s + answers" in told
    assert "stages that train nothing as pbmc3k takes" in told
    assert "trainings" not in told  # there is none
