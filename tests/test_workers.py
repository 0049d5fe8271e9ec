"""Workers of a process that is killed."""

import signal
import subprocess
import sys

WORKER = """
import os, time
from llm4grn.workers import leave_with_parent
leave_with_parent(os.getppid())
print("ready", flush=True)
time.sleep(60)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_a_worker_does_not_outlive_a_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WORKER], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(signal.SIGKILL)
    # The pipe closes when the last process that writes to it, the worker, is gone.
    assert parent.communicate(timeout=15)[0] == ""
