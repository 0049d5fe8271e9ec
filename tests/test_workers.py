"""Workers of a process that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORKER = """
import os, sys, time
from llm4grn.runtime.workers import leave_with_parent
print("begun", flush=True)
while sys.argv[2:] and os.getppid() == int(sys.argv[1]):  # until the parent is dead
    time.sleep(0.01)
leave_with_parent(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(60)
"""
PARENT = (
    "import os, subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], str(os.getpid()), *sys.argv[2:]])"
)


def start(*words: str) -> subprocess.Popen:
    """A process whose child is a worker that writes to the same pipe."""
    command = [sys.executable, "-c", PARENT, WORKER, *words]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout.readline() == "begun\n"
    return parent


def end(parent: subprocess.Popen) -> str:
    """What was written after the parent was killed; the pipe closes when the worker, the last to write, is gone."""
    parent.send_signal(signal.SIGKILL)
    return parent.communicate(timeout=15)[0]


def test_a_worker_does_not_outlive_a_killed_parent():
    parent = start()
    assert parent.stdout.readline() == "ready\n"
    assert end(parent) == ""


def test_a_worker_whose_parent_died_before_it_could_watch_leaves_at_once():
    assert end(start("late")) in ("", "ready\n")


def test_the_processes_of_joblib_know_who_started_them():
    code = (
        "import os; from multiprocessing import parent_process; from joblib import Parallel, delayed\n"
        "ask = lambda: parent_process().pid\n"
        "print(os.getpid(), *Parallel(n_jobs=2)(delayed(ask)() for _ in range(2)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert len(told) == 3
    assert len(set(told)) == 1
    assert os.getpid() != int(told[0])
