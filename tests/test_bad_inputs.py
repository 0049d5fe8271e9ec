"""Every mistake of ``tests/bad_inputs.py`` is answered in one line, before any training."""

import logging
import os
import runpy
import sys
import time
import warnings
from contextlib import contextmanager

import pytest
from bad_inputs import CASES, REPOSITORY, Case, Outcome, has_trained, problems, run
from hydra._internal.hydra import Hydra
from hydra.core.singleton import Singleton

import llm4grn.cli.config  # noqa: F401  # its resolvers must be there before Hydra's state is first kept
from llm4grn.pipeline import Pipeline

END_TO_END = {"negative counts", "dataset=foo", "paths.outputs in a file", "no GPU here", "no synthetic cells"}
HERE = [case for case in CASES if case.name not in END_TO_END]
LOGGERS = ("llm4grn", "pytorch_lightning", "lightning.pytorch", "lightning_fabric")


@contextmanager
def global_state_kept():
    """A script sets up logging, warnings and Hydra for its process; here other tests come after it."""
    state, environment = Singleton.get_state(), dict(os.environ)
    loggers = [logging.getLogger(name) for name in (*LOGGERS, "pytorch_lightning.utilities.rank_zero")]
    kept = [(logger, logger.level, logger.handlers, logger.propagate) for logger in loggers]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for logger, level, handlers, propagate in kept:
            logger.level, logger.handlers, logger.propagate = level, handlers, propagate
        Singleton.set_state(state)
        os.environ.clear()
        os.environ.update(environment)


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """Like ``bad_inputs.run``, in this process, which has imported what is slow to import."""

    def run_here(case: Case) -> Outcome:
        def train(self, folder):
            raise AssertionError("a training was begun")

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of anndata, about the files we want to be wrong
            if case.make:
                case.make(tmp_path)
        monkeypatch.setattr(Pipeline, "_build_controller", train)
        # No configuration sets Hydra's mode, which Hydra would compose all of it once more to see.
        monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        monkeypatch.setattr(sys, "argv", case.command)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        status, start = 0, time.perf_counter()
        with global_state_kept():
            try:
                runpy.run_path(str(REPOSITORY / case.script), run_name="__main__")
            except SystemExit as end:
                status = end.code
        seconds = time.perf_counter() - start
        return Outcome(status, *capsys.readouterr(), seconds, has_trained(tmp_path))

    return run_here


@pytest.mark.slow
@pytest.mark.parametrize("case", HERE, ids=lambda case: case.name)
def test_answers_in_one_line(case, run_here):
    outcome = run_here(case)
    assert not problems(case, outcome), outcome.errors


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(END_TO_END))
def test_answers_in_one_line_when_started_as_a_user_does(name, tmp_path):
    (case,) = (case for case in CASES if case.name == name)
    outcome = run(case, tmp_path)
    assert not problems(case, outcome), outcome.errors


def test_cases_are_many_and_can_be_told_apart():
    assert sum(case.status == 2 for case in CASES) >= 30
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.says for case in CASES)


def test_refused_data_leave_nothing_in_the_store(run_here, tmp_path):
    """... that a later run could take for a result."""
    (case,) = (case for case in CASES if case.name == "NaN")
    run_here(case)
    assert not list(tmp_path.rglob("stage.json"))
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("outcome", "complaint"),
    [
        (Outcome(1, "", "error: f.x is bad; repair", 1.0, False), "exit status 1"),
        (Outcome(2, "", "", 1.0, False), "0 lines of error"),
        (Outcome(2, "", "error: f.x is bad; repair\nerror: twice", 1.0, False), "2 lines of error"),
        (Outcome(2, "", "Traceback (most recent call last)\nerror: f.x is bad; repair", 1.0, False), "a traceback"),
        (Outcome(2, "", "error: f.x is bad; repair", 25.0, False), "25.0 s"),
        (Outcome(2, "", "error: f.x is bad; repair", 1.0, True), "training had begun"),
        (Outcome(2, "", "error: f.x is bad", 1.0, False), "no 'repair' in the message"),
    ],
)
def test_the_check_sees_bad_answers(outcome, complaint):
    case = Case("any", ["f.x=1"], ["f.x", "repair"])
    assert any(found.startswith(complaint) for found in problems(case, outcome))
    assert not problems(case, Outcome(2, "", "error: f.x is bad; repair", 1.0, False))
