"""Sweeps in processes of their own, on data and models so small that a job takes a second."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tiny import options
from warm import ROOT, WarmProcess

#: Keys, servers and proxies of whoever runs the tests are none of theirs. One thread: sums over two round differently.
_PRIVATE = re.compile(r"OPENAI_|LLAMA_|WANDB_|.*_proxy$", re.I)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not _PRIVATE.match(name)} | {"OMP_NUM_THREADS": "1"}
GRID = ["inferer=random,correlation", "seed=1000,2000"]
QUICK = ["evaluation.n_samples=1", "evaluation.metrics=[cosine_distance]", "model.controller.steps=30"]
OF_TRAINING = "model.", "evaluation.", "logger=", "trainer="


def start(
    script: str, *arguments: str, cwd: Path, cold: bool = False, **environment: str
) -> WarmProcess | subprocess.Popen:
    """``cold``: as a user does, with all its imports."""
    cwd.mkdir(parents=True, exist_ok=True)
    if not cold:
        return WarmProcess(script, *arguments, cwd=cwd, environment=ENVIRONMENT | environment)
    command = [sys.executable, str(ROOT / script), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT | environment, **pipes)


def end(process: WarmProcess | subprocess.Popen, code: int = 0) -> tuple[str, str]:
    """What it wrote to stdout and stderr."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out, err


def training(counts: Path, folder: Path, *more: str, cold: bool = False) -> WarmProcess | subprocess.Popen:
    """A sweep of ``train.py`` over two inferers and two seeds."""
    return start("train.py", "-m", *options(counts, folder), *QUICK, *GRID, *more, cwd=folder.parent, cold=cold)


def inferring(counts: Path, folder: Path, *more: str, cold: bool = False) -> WarmProcess | subprocess.Popen:
    """One of ``infer_grn.py``, which takes a second."""
    shared = [option for option in options(counts, folder) if not option.startswith(OF_TRAINING)]
    return start("infer_grn.py", "-m", *shared, *more, cwd=folder.parent, cold=cold)


def stages(folder: Path) -> dict[str, int]:
    """How many finished stages the store has, by name."""
    return Counter(path.parent.parent.name for path in (folder / "store").glob("*/*/stage.json"))


def sweep_folder(folder: Path) -> Path:
    """The one that was used last."""
    return max((folder / "sweeps").iterdir(), key=lambda path: path.stat().st_mtime)


def numbers(folder: Path) -> dict[str, bytes]:
    """The results of each run."""
    return {path.parent.name: path.read_bytes() for path in folder.glob("h5ad_*/results.json")}


def ran(err: str) -> Counter[str]:
    """How often each stage was begun, by name and key."""
    return Counter(re.findall(r"(?:running|resuming) (\w+ [0-9a-f]{20})", err))
