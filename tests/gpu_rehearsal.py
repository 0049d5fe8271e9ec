"""Run the benchmark for GPUs on the CPU, among parts that fail, die, hang and come too late.

``python tests/gpu_rehearsal.py FOLDER`` writes ``gpu.json``, and ``unusable.json`` of a device that cannot be used.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu import Part, parts, run_all
from benchmarks.gpu_report import FIRST, table


def works(job):
    yield "known", {name: of.get("before") for name, of in job.known.items() if name in ("fails", "dies", "hangs")}
    yield "infinite", float("inf")


def fails(job):
    yield "before", 2
    raise ValueError("no luck")


def dies(job):
    yield "before", 3
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(job):
    yield "child", subprocess.Popen(["sleep", "60"]).pid
    time.sleep(60)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_all([Part(FIRST, fails, 30), Part("late", works, 30)], "cpu", True, 60.0, folder / "unusable.json")
    # torch.compile is tried at one size, because tracing takes most of the time
    chosen = [
        part for part in parts(True) if not part.options.get("compiled") or part.name.startswith("paper bfloat16")
    ]
    bad = [Part("fails", fails, 30), Part("dies", dies, 30), Part("hangs", hangs, 1), Part("late", works, 1000)]
    report = run_all([*chosen, *bad, Part("works", works, 30)], "cpu", True, 100.0, folder / "gpu.json")
    print(table(report))
