"""Check that sequential and parallel sweeps give the same numbers and compute each stage once.

    python -m benchmarks.sweep_launchers        8 jobs twice, each time in an empty folder; a quarter of an hour

The demo grid, with two seeds and short trainings, runs sequentially, then again in the same folder, and by joblib with
two jobs at once in another. It counts the stages in the store, and how often the logs say that each was begun. The last
line is JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.sweep_kills import content, difference

ROOT = Path(__file__).resolve().parents[1]
LAUNCHERS = {"sequential": [], "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]}
#: Long enough to share stages, but too short for the scores to mean anything.
SHORT = ["seed=1000,2000", "model.controller.steps=500", "model.causal_gan.steps=400", "evaluation.n_samples=2"]
LIMIT, REPEAT_LIMIT = 1800.0, 30.0  # seconds for the sweep and for its repetition


def sweep(folder: Path, options: list[str]) -> tuple[float, str]:
    """Run the demo grid below ``folder``, and return its seconds and its output."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "train.py"), "-m", "+multirun_sweeps=demo", "logger.mode=offline", *SHORT]
    command += options
    begin = time.perf_counter()
    # One thread per job, as the number of threads changes the rounding of sums.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit("\n".join(["a sweep failed:", *done.stderr.splitlines()[-20:]]))
    return time.perf_counter() - begin, done.stdout + done.stderr


def begun(log: str) -> Counter[str]:
    """Return how often each stage was computed, by stage and key."""
    return Counter(re.findall(r"running (\w+ [0-9a-f]{20})", log))


def main() -> None:
    found, seconds, stages = {}, {}, {}
    with tempfile.TemporaryDirectory() as name:
        for launcher, options in LAUNCHERS.items():
            folder = Path(name) / launcher
            seconds[launcher], log = sweep(folder, options)
            found[launcher], stages[launcher] = content(folder), begun(log)
            print(f"{launcher}: {seconds[launcher]:.0f} s", flush=True)
        seconds["again"], log = sweep(Path(name) / "sequential", [])
        stages["again"] = begun(log)
    expected, other = found["sequential"], found["joblib"]
    for part in (part for part in expected if expected[part] != other[part]):
        print(f"joblib: {part}: {difference(expected[part], other[part])}", flush=True)
    summary = {
        "benchmark": "sweep_launchers",
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "jobs": len(expected["results"]),
        "stages_in_the_store": expected["stages"],
        "computed_again": {name: sum(of.values()) - len(of) for name, of in stages.items()},
        "computed_by_the_repeat": len(stages["again"]),
        "same": {part: expected[part] == other[part] for part in expected},
    }
    print(json.dumps(summary))
    fast = max(seconds["sequential"], seconds["joblib"]) < LIMIT and seconds["again"] < REPEAT_LIMIT
    once = not any(summary["computed_again"].values()) and not stages["again"]
    if not (fast and once and all(summary["same"].values())):
        sys.exit(1)


if __name__ == "__main__":
    main()
