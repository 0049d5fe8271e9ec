"""One task per target over processes: order, errors, and no process left behind."""

import os

import pytest
from joblib import delayed

from llm4grn.errors import UserError
from llm4grn.inference.per_target import check_n_jobs, run_per_target


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_keep_the_order_of_the_targets(n_jobs, capfd):
    tasks = (delayed(divmod)(i, 7) for i in range(40))
    assert run_per_target(tasks, n_jobs, 40, "dividing") == [divmod(i, 7) for i in range(40)]
    assert "dividing: 100%" in capfd.readouterr().err


def test_the_processes_are_others():
    ids = run_per_target((delayed(os.getpid)() for _ in range(4)), 2, 4, "asking")
    assert os.getpid() not in ids


def test_an_error_in_a_task_is_raised():
    with pytest.raises(ZeroDivisionError):
        run_per_target((delayed(divmod)(1, 0) for _ in range(2)), 2, 2, "dividing")


@pytest.mark.parametrize("n_jobs", [0, "all", True, 1.5])
def test_an_impossible_number_of_processes_is_refused(n_jobs):
    with pytest.raises(UserError, match=r"inferer\.n_jobs="):
        check_n_jobs(n_jobs)
