"""Check that a training that is killed repeatedly ends with exactly the weights of an undisturbed one.

    python -m benchmarks.kills                 20 kills of a small causal GAN; some minutes
    python -m benchmarks.kills kills=50 steps=5000

One process trains a small stage 2 undisturbed. The same training then runs in another folder, killed with SIGKILL at
random moments and restarted until it ends, and in further folders until there are enough kills. Weights, losses,
monitor and validation scores of all folders are compared. Checkpoints are written every 0.1 s and validation selects
the weights, so that all resumed state matters. The last line is JSON.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLES = "losses.csv", "monitor.csv", "validation.csv"
READY = "ready"


def train(folder: Path, steps: int) -> None:
    """Train stage 2 on simulated cells, the training to be killed, and write ``folder / generator.pt``."""
    import torch

    from llm4grn.gan.causal_gan import CausalGAN
    from llm4grn.gan.hyperparameters import CausalGANHyperparameters
    from llm4grn.gan.networks import CellGenerator
    from llm4grn.gan.training import fit
    from llm4grn.grn import CausalGraph
    from llm4grn.store import atomic_write

    torch.set_num_threads(1)
    genes = tuple(f"g{i}" for i in range(40))
    graph = CausalGraph(genes, {gene: genes[i % 6 : i % 6 + 3] for i, gene in enumerate(genes[10:])})
    cells = torch.rand(400, len(genes), generator=torch.Generator().manual_seed(0)).square()
    cells = cells / cells.sum(dim=1, keepdim=True) * 20_000
    rates = {name: [1e-3, 1e-4] for name in ("generator_lr", "critic_lr", "labeler_lr")}
    sizes = {"batch_size": 64, "critic_layers": [32, 16], "labeler_layers": [32]}
    looks = {"monitor_every": 100, "validate_every": steps // 2, "checkpoint": "best", "validation_metric": "mmd"}
    small = {"preconditioned": True, "revive": True, "critic_spaces": ["counts", "log1p"], "observation": "poisson"}
    hyper = CausalGANHyperparameters(steps=steps, **small, **rates, **sizes, **looks)
    torch.manual_seed(0)
    gan = CausalGAN(cells[100:], graph, CellGenerator(16, [32], len(genes)), hyper, 20_000, seed=1)
    print(READY, flush=True)
    fit(gan, folder, "causal_gan", {"accelerator": "cpu", "devices": 1}, validation=cells[:100], checkpoint_every=0.1)
    with atomic_write(folder / "generator.pt") as path:
        torch.save(gan.generator.state_dict(), path)


def start(folder: Path, steps: int) -> subprocess.Popen:
    """Start the training in a process of its own, and return when its imports are done."""
    command = [sys.executable, "-m", "benchmarks.kills", "train", str(folder), str(steps)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if process.stdout.readline().strip() != READY:
        sys.exit(f"the training does not start: {' '.join(command)}")
    return process


def finish(process: subprocess.Popen) -> None:
    if process.wait() != 0:
        sys.exit("a training failed")


def kill_repeatedly(place: Path, steps: int, kills: int, longest: float) -> tuple[list[Path], list[float], list[int]]:
    """Kill trainings ``kills`` times, starting a new one whenever one has ended, then let the last one end.

    Returns
    -------
    The folders of the trainings; and for each kill, the seconds until it and the step that the process resumed from.
    """
    moments, folders, lives, found = random.Random(0), [place / "disturbed_0"], [], []
    while len(lives) < kills:
        if (folders[-1] / "generator.pt").exists():
            folders.append(place / f"disturbed_{len(folders)}")
        step = resumes_at(folders[-1])
        process = start(folders[-1], steps)
        wait = moments.uniform(0, longest)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            lives.append(round(wait, 2))
            found.append(step)
    if not (folders[-1] / "generator.pt").exists():
        finish(start(folders[-1], steps))
    return folders, lives, found


def resumes_at(folder: Path) -> int:
    """Return the step of the checkpoint in ``folder``; 0 if there is none."""
    import torch

    path = folder / "last.ckpt"
    return torch.load(path, weights_only=True)["steps_done"] if path.exists() else 0


def same(a: Path, b: Path) -> dict[str, bool]:
    """Return, by file, whether weights and tables of two finished trainings are equal to the last bit."""
    import torch

    weights = [torch.load(folder / "generator.pt", weights_only=True) for folder in (a, b)]
    equal = {"weights": all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] | weights[1])}
    return equal | {name: (a / name).read_bytes() == (b / name).read_bytes() for name in TABLES}


def main(kills: int = 20, steps: int = 1500) -> None:
    with tempfile.TemporaryDirectory() as place:
        undisturbed = Path(place, "undisturbed")
        begin = time.perf_counter()
        process = start(undisturbed, steps)
        ready = time.perf_counter()
        finish(process)
        length = time.perf_counter() - ready
        print(f"undisturbed: {ready - begin:.1f} s to start, {length:.1f} s of training", flush=True)
        folders, lives, found = kill_repeatedly(Path(place), steps, kills, length / 3)
        equal = [same(undisturbed, folder) for folder in folders]
        summary = {
            "benchmark": "kills",
            "steps": steps,
            "seconds_undisturbed": round(length, 1),
            "kills": len(lives),
            "trainings": len(folders),
            "seconds_of_life": lives,
            "resumed_at_step": found,
            "same": {name: all(each[name] for each in equal) for name in equal[0]},
        }
    print(json.dumps(summary))
    if not all(summary["same"].values()):
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(**{name: int(value) for name, value in (word.split("=") for word in sys.argv[1:])})
