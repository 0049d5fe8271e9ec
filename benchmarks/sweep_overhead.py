"""Overhead of a sweep: seconds per job when all stages are in the store.

    python -m benchmarks.sweep_overhead              a sweep of 4 jobs with trainings of 25 steps; minutes
    python -m benchmarks.sweep_overhead seeds=8      8 jobs

The sweep runs once, is repeated, and runs again after the folders of its runs are deleted, so that each is written
again from the store (tables, figures, copies of the cells). Data, networks and scores are those of the default job;
only the trainings are shorter. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ["inferer=correlation,random", "model.controller.steps=25", "model.causal_gan.steps=25", "trainer=cpu"]
LIMIT = 5.0  # seconds per job


def sweep(folder: Path, seeds: int) -> tuple[float, float]:
    """Run the sweep, and return its seconds and CPU seconds, which other load hardly changes."""
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-m",
        *OPTIONS,
        f"seed={','.join(map(str, range(1, seeds + 1)))}",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}
    begin, used = time.perf_counter(), _cpu_seconds()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return time.perf_counter() - begin, _cpu_seconds() - used


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def per_job(folder: Path, seeds: int) -> tuple[float, float]:
    """Return seconds and CPU seconds per job of a sweep whose stages are all in the store."""
    wall, cpu = sweep(folder, seeds)
    return round(wall / (2 * seeds), 2), round(cpu / (2 * seeds), 2)


def main(seeds: int = 2, repeats: int = 3) -> None:
    n_jobs = 2 * seeds
    with tempfile.TemporaryDirectory() as name:
        folder, again, written = Path(name), [], []
        first, _ = sweep(folder, seeds)
        print(f"first: {first:.1f} s", flush=True)
        for _ in range(repeats):
            again.append(per_job(folder, seeds))
            runs = [path.parent for path in folder.glob("outputs/pbmc3k_*/results.json")]
            if len(runs) != n_jobs:
                sys.exit(f"{len(runs)} of {n_jobs} runs are there")
            for run in runs:
                shutil.rmtree(run)
            written.append(per_job(folder, seeds))
            print(f"seconds per job, of the processor: finished {again[-1]}, from the store {written[-1]}", flush=True)
    summary = {
        "benchmark": "sweep_overhead",
        "jobs": n_jobs,
        "seconds_first": round(first, 1),
        "seconds_per_job_finished": [wall for wall, _ in again],
        "cpu_seconds_per_job_finished": [cpu for _, cpu in again],
        "seconds_per_job_from_the_store": [wall for wall, _ in written],
        "cpu_seconds_per_job_from_the_store": [cpu for _, cpu in written],
    }
    print(json.dumps(summary))
    if min(again)[0] > LIMIT or min(written)[0] > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main(**{name: int(value) for name, value in (word.split("=") for word in sys.argv[1:])})
