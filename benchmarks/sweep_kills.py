"""Check that a sweep whose processes are killed repeatedly ends with the results of an undisturbed one.

    python -m benchmarks.sweep_kills                 10 kills of a sweep of 6 small jobs, two at once; minutes
    python -m benchmarks.sweep_kills kills=30

One sweep runs undisturbed. The same command is then repeated in another folder, with its main process or one of its
workers killed with SIGKILL at a random moment each time, until it ends, and in further folders until there are enough
kills. Locks, records and half-written files are left as they are. Each folder must have every setting once, with
results byte for byte those of the undisturbed sweep, every stage once in the store, and every run once in W&B. The last
line is JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
JOBS = ["inferer=correlation,random", "seed=1,2,3"]
OPTIONS = [
    "dataset=pbmc3k",
    "dataset.preprocessing.n_genes=100",
    "dataset.preprocessing.n_test=100",
    "dataset.preprocessing.n_validation=100",
    "graph.k=3",
    "model.controller.steps=100",
    "model.causal_gan.steps=100",
    "evaluation.n_samples=1",
    "evaluation.metrics=[cosine_distance]",
    "trainer=cpu",
    "logger.mode=offline",
    "hydra/launcher=joblib",
    "hydra.launcher.n_jobs=2",
]
N_JOBS = 6


def start(folder: Path) -> subprocess.Popen:
    """Start the sweep in processes of its own, with results below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "train.py"), "-m", *OPTIONS, *JOBS]
    # One thread per job, as the number of threads changes the rounding of sums.
    with (folder / "log").open("a") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def finish(folder: Path) -> None:
    """Wait for the sweep, which must succeed."""
    if start(folder).wait() != 0:
        sys.exit("\n".join(["a sweep failed:", *(folder / "log").read_text().splitlines()[-20:]]))


def workers(leader: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes in which jobs of the sweep run."""
    return [process for process in psutil.Process(leader.pid).children(recursive=True) if _is_worker(process)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "popen_loky" in " ".join(process.cmdline())
    except psutil.Error:  # the process has just ended
        return False


def kill_one(leader: subprocess.Popen, chance: random.Random) -> str:
    """Kill the main process or one of its workers with equal probability, and return which."""
    victims = workers(leader)
    if victims and chance.random() < 0.5:
        chance.choice(victims).kill()
        return "worker"
    leader.kill()
    return "main"


def kill_repeatedly(place: Path, kills: int, length: float) -> tuple[list[Path], list[tuple[str, float]]]:
    """Kill sweeps ``kills`` times, starting a new one whenever one has ended, then let the last one end.

    Returns
    -------
    The folders of the sweeps, and for each kill the process and the seconds until it.
    """
    chance, folders, killed = random.Random(0), [place / "disturbed_0"], []
    while len(killed) < kills:
        leader, wait = start(folders[-1]), chance.uniform(0.15, 0.6) * length
        try:
            leader.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            killed.append((kill_one(leader, chance), round(wait, 1)))
            print(f"{folders[-1].name}: killed the {killed[-1][0]} after {wait:.1f} s", flush=True)
            leader.wait()
        if leader.returncode == 0:
            folders.append(place / f"disturbed_{len(folders)}")
    if not folders[-1].exists():
        return folders[:-1], killed
    finish(folders[-1])
    return folders, killed


def content(folder: Path) -> dict[str, object]:
    """Return what a finished sweep wrote: results by run, stages by name, half-written folders, runs in W&B."""
    outputs = folder / "outputs"
    return {
        "results": {path.parent.name: path.read_bytes() for path in outputs.glob("pbmc3k_*/results.json")},
        "stages": Counter(path.parent.parent.name for path in outputs.glob("store/*/*/stage.json")),
        "partial": [path.name for path in outputs.glob("store/*/*.partial")],
        "wandb": sorted(path.name.split("-")[-1] for path in outputs.glob("wandb/*run-*-*")),
    }


def difference(expected: object, found: object) -> str:
    """Return the differences between two sweeps as one line."""
    if not isinstance(expected, dict):
        return f"{found} in the place of {expected}"
    return ", ".join(
        f"{name}: {_first_change(expected.get(name), found.get(name))}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    )


def _first_change(a: object, b: object) -> str:
    """Return the first line in which two files differ; for other values, both values."""
    if not isinstance(a, bytes) or not isinstance(b, bytes):
        return f"{type(b).__name__ if isinstance(b, bytes) else b} in the place of {type(a).__name__}"
    lines = zip(a.decode().splitlines(), b.decode().splitlines(), strict=False)
    return next((f"{there.strip()} in the place of {here.strip()}" for here, there in lines if here != there), "longer")


def main(kills: int = 10) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Path(name)
        begin = time.perf_counter()
        finish(place / "undisturbed")
        length = time.perf_counter() - begin
        print(f"undisturbed: {length:.1f} s", flush=True)
        folders, killed = kill_repeatedly(place, kills, length)
        expected, found = content(place / "undisturbed"), [content(folder) for folder in folders]
    same = {part: all(each[part] == expected[part] for each in found) for part in expected}
    for folder, each in zip(folders, found, strict=True):
        for part in [part for part in expected if each[part] != expected[part]]:
            print(f"{folder.name}: {part}: {difference(expected[part], each[part])}", flush=True)
    complete = len(expected["results"]) == len(set(expected["wandb"])) == len(expected["wandb"]) == N_JOBS
    summary = {
        "benchmark": "sweep_kills",
        "seconds": round(time.perf_counter() - begin, 1),
        "seconds_undisturbed": round(length, 1),
        "kills": Counter(victim for victim, _ in killed),
        "killed_after_seconds": [seconds for _, seconds in killed],
        "sweeps": len(folders),
        "jobs": len(expected["results"]),
        "complete": complete,
        "same": same,
    }
    print(json.dumps(summary))
    if not complete or not all(same.values()):
        sys.exit(1)


if __name__ == "__main__":
    main(**{name: int(value) for name, value in (word.split("=") for word in sys.argv[1:])})
