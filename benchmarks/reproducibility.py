"""Check that a job is computed once and reproducible: repeated, run in another folder, and killed.

    python -m benchmarks.reproducibility                                 the default job; about three times its length
    python -m benchmarks.reproducibility model.causal_gan.steps=100      any other job: options of train.py

In one empty folder the job runs undisturbed, then again, then with another inferer, to see which stages are reused,
unless an inferer is given. In a second folder the same job is killed with SIGKILL at random moments and repeated until
it ends. Results and GRN of both folders are compared byte for byte. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KILLS = 5


def start(folder: Path, options: list[str]) -> subprocess.Popen:
    log = (folder / "log.txt").open("a")
    command = [sys.executable, str(ROOT / "train.py"), *options]
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env={**os.environ})


def run(folder: Path, options: list[str]) -> float:
    """Run the job, which must succeed, and return its seconds."""
    begin = time.perf_counter()
    process = start(folder, options)
    if process.wait() != 0:
        sys.exit(f"the job failed:\n{(folder / 'log.txt').read_text()[-2000:]}")
    return time.perf_counter() - begin


def run_with_kills(folder: Path, options: list[str], length: float) -> list[float]:
    """Kill the job at most ``KILLS`` times, after random fractions of its length; return the seconds of each kill."""
    moments, killed = random.Random(0), []
    while len(killed) < KILLS:
        process = start(folder, options)
        wait = moments.uniform(0.02, 0.35) * length
        try:
            process.wait(timeout=wait)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed.append(round(wait, 1))
            print(f"killed after {wait:.1f} s", flush=True)
    run(folder, options)
    return killed


def results(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the files that must not differ, by run and file."""
    names = "results.csv", "results.json", "grn.tsv", "graph.json"
    runs = [path.parent for path in sorted((folder / "outputs").glob("*/results.json"))]
    return {f"{path.name}/{name}": (path / name).read_bytes() for path in runs for name in names}


def stages(folder: Path) -> set[str]:
    store = folder / "outputs" / "store"
    return {f"{path.parent.name}/{path.name}" for path in store.glob("[a-z]*/*") if not path.name.endswith(".partial")}


def main(options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        undisturbed, disturbed = Path(place, "undisturbed"), Path(place, "disturbed")
        undisturbed.mkdir()
        disturbed.mkdir()
        first = run(undisturbed, options)
        print(f"the job           {first:7.1f} s", flush=True)
        before = results(undisturbed)
        again = run(undisturbed, options)
        print(f"the same again    {again:7.1f} s", flush=True)
        same_again = results(undisturbed) == before
        killed = run_with_kills(disturbed, options, first)
        summary = {
            "benchmark": "reproducibility",
            "options": options,
            "seconds": first,
            "seconds_again": again,
            "same_again": same_again,
            "killed_after": killed,
            "same_in_another_folder_after_kills": results(disturbed) == before,
        }
        if not any(option.startswith("inferer=") for option in options):
            known = stages(undisturbed)
            summary["seconds_inferer_random"] = run(undisturbed, [*options, "inferer=random"])
            summary["stages_run_by_inferer_random"] = sorted(path.split("/")[0] for path in stages(undisturbed) - known)
    print(json.dumps(summary))
    if not (summary["same_again"] and summary["same_in_another_folder_after_kills"]):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
