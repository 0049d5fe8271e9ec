"""The plan counts every stage once, and times it by what stages like it took."""

import time
from pathlib import Path

import pytest

from llm4grn.errors import UserError
from llm4grn.store import Stage, Store
from llm4grn.sweep.checks import Problems, check_disk, check_gpu
from llm4grn.sweep.estimates import networks_of
from llm4grn.sweep.plan import Plan, aligned

DATA = Stage("data", 1, {"seed": 1})
OTHER = Stage("data", 1, {"seed": 2})
GRN = Stage("grn", 1, {"method": "a"}, {"data": DATA})

MODEL = {"steps": 100, "batch_size": 8, "critic_layers": [8], "critic_updates": 5, "noise_dim": 4}
CELLS = Stage("data", 1, {"preprocessing": {"n_genes": 20}})
TRAINING = Stage("controller", 1, {"model": MODEL | {"generator_layers": [8]}}, {"data": CELLS})


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


def test_no_room_on_a_disk_is_a_problem_of_every_job(tmp_path, monkeypatch):
    problems, folders = Problems(), [tmp_path / "not" / "yet", tmp_path]
    check_disk(folders, 1.0, problems, [0, 1])
    assert not problems
    monkeypatch.setattr("llm4grn.sweep.checks.SPARE_BYTES", 2**80)
    check_disk(folders, 0.0, problems, [0, 1])  # nothing is to be written
    assert not problems
    check_disk(folders, 1.0, problems, [0, 1])
    (line,) = problems.lines(2)
    assert str(tmp_path) in line
    assert "GiB are free" in line


def test_no_room_on_any_gpu_is_a_problem_of_the_jobs_that_train_there():
    problems, stages = Problems(), [DATA, TRAINING]
    needed = networks_of(TRAINING).gpu_bytes
    for free, job in ([needed / 2, needed], 0), ([], 1), ([needed / 2, needed / 3], 2):
        check_gpu(free, stages, job, problems)
    (line,) = problems.lines(3)
    assert line.startswith("trainer.accelerator=gpu: ")
    assert line.endswith("(job 2)")


def test_each_problem_is_told_once_with_its_jobs():
    problems = Problems()

    def refuse() -> None:
        raise UserError("a file\n  is missing")

    for job in 0, 1, 3:
        problems.catch(job, refuse)
    problems.add("no key", 1)
    assert problems.lines(5) == ["a file is missing (jobs 0-1, 3)", "no key (job 1)"]
    assert problems.lines(3) == ["a file is missing", "no key (job 1)"]


def test_a_table_has_its_columns_below_each_other():
    assert aligned([["a", "number"], ["long name", "1"]]) == "a          number\n-----------------\nlong name       1"
