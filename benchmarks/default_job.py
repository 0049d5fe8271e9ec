"""Time of the default job, ``python train.py`` in an empty folder: now, and with ``model=small`` as it was before.

    python -m benchmarks.default_job                 both, alternating, three times; half an hour on an idle machine
    python -m benchmarks.default_job 1 small         one of them, once

Prints seconds by stage, as the store records them; what no stage accounts for is imports, pictures, W&B and the run's
folder. The last line is JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.generator import hyperparameters
from llm4grn.store import Store

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("data", "tfs", "grn", "graph", "predictive_ruler", "predictive", "controller", "causal_gan")
MEASURED = ("cells", "scores", "tsne")  # of control, stage 1 and run


def overrides(variant: str) -> list[str]:
    """Return what sets the hyperparameters of a variant on the command line."""
    return [
        f"model.{stage}.{name}={json.dumps(value, separators=(',', ':')).replace(chr(34), '')}"
        for stage, values in hyperparameters(variant).items()
        for name, value in values.items()
    ]


def run(variant: str) -> dict[str, float]:
    """Run the job in an empty folder, and return its seconds by stage, processor seconds and peak memory (GB)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), *overrides(variant)]
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        store = Store(Path(folder) / "outputs/store")
        stages = {name: sum(store.recorded(name).values()) for name in (*STAGES, *MEASURED)}
    return {
        **stages,
        "rest": seconds - sum(stages.values()),
        "all": seconds,
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak GB": after.ru_maxrss / 1e6,
    }


def main(repeats: int = 3, variants: Sequence[str] = ()) -> None:
    chosen = variants or ("former", "small")
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in chosen}
    for _ in range(repeats):
        for variant in chosen:
            runs[variant].append(run(variant))
            print(variant, json.dumps({name: round(value, 2) for name, value in runs[variant][-1].items()}), flush=True)
    medians = {
        variant: {name: round(statistics.median(each[name] for each in found), 2) for name in found[0]}
        for variant, found in runs.items()
    }
    for name in medians[chosen[0]]:
        print(f"{name:18}", *(f"{medians[variant][name]:10.2f}" for variant in chosen))
    print(json.dumps({"medians": medians, "runs": runs}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
