"""Run the benchmark for GPUs on the CPU, among parts that fail, die, hang and come too late.

``python tests/gpu_rehearsal.py FOLDER`` writes ``gpu.json``, and ``unusable.json`` of a device that cannot be used.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
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


# Budgets are generous, as other tests may run beside, except for the parts that are meant to exceed theirs.
BUDGET, DEADLINE = 300, 3000.0

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    unusable = [Part(FIRST, fails, BUDGET), Part("late", works, BUDGET)]
    run_all(unusable, "cpu", True, DEADLINE, folder / "unusable.json")
    # torch.compile is tried at one size, because tracing takes most of the time
    chosen = [
        part for part in parts(True) if not part.options.get("compiled") or part.name.startswith("paper bfloat16")
    ]
    bad = {"fails": (fails, BUDGET), "dies": (dies, BUDGET), "hangs": (hangs, 1), "late": (works, 10 * DEADLINE)}
    chosen = [replace(part, budget=BUDGET) for part in chosen] + [Part(name, *part) for name, part in bad.items()]
    report = run_all([*chosen, Part("works", works, BUDGET)], "cpu", True, DEADLINE, folder / "gpu.json")
    print(table(report))
