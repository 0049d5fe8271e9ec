"""Torch's threads, and what numba makes of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm4grn.runtime.threads import n_threads

ROOT = Path(__file__).resolve().parents[1]

CODE = """
import numba, numpy, torch
from llm4grn.runtime.threads import fix_torch_threads

@numba.njit(parallel=True)
def total(x):
    sum = 0.0
    for i in numba.prange(x.shape[0]):
        sum += x[i]
    return sum

before = torch.get_num_threads()
total(numpy.ones(100))
after = torch.get_num_threads()
fix_torch_threads()
print(before, after, torch.get_num_threads(), numba.threading_layer())
"""


@pytest.mark.slow
def test_a_parallel_function_of_numba_does_not_change_torchs_threads_for_long():
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": "omp"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "2", "1", "omp"]


@pytest.mark.parametrize(("asked", "n"), [("1", 1), ("2", 2), ("3,1", 3), ("64", 4), ("", 4), ("0", 4), ("many", 4)])
def test_as_many_threads_as_were_asked_for_and_no_more_than_there_are_cores(monkeypatch, asked, n):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr("joblib.cpu_count", lambda only_physical_cores=False: 4)
    assert n_threads() == n


def test_a_share_of_the_cores_is_a_share_of_the_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert n_threads() == 1
