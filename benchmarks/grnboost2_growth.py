"""Growth of GRNBoost2's time with cells, target genes and TFs, on cells of pbmc3k resampled with count noise.

    python -m benchmarks.grnboost2_growth                    2 threads; some minutes
    python -m benchmarks.grnboost2_growth --scale 0.25       a quarter of the cells, to try it out

Each of the three takes four sizes while the others stay at their middle; a time is the fastest of three processes. A
tree reads the non-zero values of the TFs it tries, a tenth of all, and all cells a few times; a target stops when
further trees do not improve it. Time is therefore shown in total, per target and per tree. An exponent, the slope in a
log-log plot, is 1 if time is proportional to size, and less if a part of the cost is constant.
It prints a table, draws benchmarks/grnboost2_growth.png, and ends with a JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np

from benchmarks.grnboost2 import pbmc3k, peak_memory, resampled, with_targets
from llm4grn.inference.grnboost2 import GRNBoost2

PLOT = Path(__file__).with_suffix(".png")
MIDDLE = {"cells": 8000, "targets": 300, "tfs": 80}
SIZES = {"cells": (8000, 16_000, 32_000, 64_000), "targets": (100, 200, 400, 800), "tfs": (50, 100, 200, 400)}


def make(cells: anndata.AnnData, size: dict[str, int]) -> anndata.AnnData:
    """Return resampled cells, with TFs taken first from the curated list, then from the other genes in random order.

    Targets are taken from the other end of that order.
    """
    rng = np.random.default_rng(0)
    is_tf = cells.var["tf"].to_numpy()
    order = np.concatenate([rng.permutation(np.flatnonzero(is_tf)), rng.permutation(np.flatnonzero(~is_tf))])
    kept = np.concatenate([order[: size["tfs"]], order[-size["targets"] :]])
    drawn = resampled(cells, size["cells"], 1.0)[:, kept].copy()
    drawn.var["tf"] = np.arange(len(kept)) < size["tfs"]
    return drawn


def measure(path: str, threads: int) -> dict[str, float]:
    """Return seconds, trees of all targets, non-zero TF values and peak memory, after loading the compiled code."""
    adata = anndata.read_h5ad(path)
    tfs = list(adata.var_names[adata.var["tf"]])
    GRNBoost2(threads).infer(with_targets(adata, 2), tfs, 0)
    start = time.perf_counter()
    grn = GRNBoost2(threads).infer(adata, tfs, 0)
    seconds = time.perf_counter() - start
    # The importances of a target add up to its number of trees.
    trees, nonzeros = float(grn.edges["importance"].sum()), int(adata[:, tfs].X.count_nonzero())
    return {"seconds": seconds, "trees": trees, "nonzeros": nonzeros, "peak_gb": peak_memory()}


def fastest(path: Path, threads: int, repeats: int) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.grnboost2_growth"]
    command += ["--measure", str(path), "--threads", str(threads)]
    rows = []
    for _ in range(repeats):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"a measurement failed:\n{done.stderr[-2000:]}")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return min(rows, key=lambda row: row["seconds"])


def line(rows: list[dict], x: str, y: str) -> dict[str, float]:
    """Return the slope of log ``y`` over log ``x``, and the fraction of variance that the straight line explains."""
    across, up = (np.array([row[name] for row in rows]) for name in (x, y))
    return {
        "exponent": float(np.polyfit(np.log(across), np.log(up), 1)[0]),
        "r2": float(np.corrcoef(across, up)[0, 1] ** 2),
    }


def draw(series: dict[str, list[dict]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    *axes, last = figure.subplots(1, 4)
    for axis, (name, rows) in zip(axes, series.items(), strict=True):
        axis.plot([row[name] for row in rows], [row["seconds"] for row in rows], marker="o")
        axis.set(xlabel={"tfs": "TFs"}.get(name, name), ylabel="s")
    for name, label in ("cells", "more cells"), ("tfs", "more TFs"):
        rows = series[name]
        last.plot(
            [row["nonzeros"] / 1e6 for row in rows], [row["ms_per_tree"] for row in rows], marker="o", label=label
        )
    last.set(xlabel="values of TFs above zero, millions", ylabel="ms per tree")
    last.legend(frameon=False, fontsize=8)
    for axis in *axes, last:
        axis.set(xlim=(0, None), ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(PLOT, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of cells")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.threads)))
        return
    cells = pbmc3k()
    series: dict[str, list[dict]] = {name: [] for name in SIZES}
    print(" cells targets  TFs  non-zeros  trees       s ms/target  ms/tree")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cells.h5ad")
        for name, values in SIZES.items():
            for value in values:
                size = {**MIDDLE, name: value}
                size["cells"] = max(1000, int(size["cells"] * args.scale))
                make(cells, size).write_h5ad(path)
                row = {**size, **fastest(path, args.threads, args.repeats)}
                row["ms_per_target"] = 1000 * row["seconds"] / row["targets"]
                row["ms_per_tree"] = 1000 * row["seconds"] / row["trees"]
                series[name].append(row)
                print(
                    f"{row['cells']:6} {row['targets']:7} {row['tfs']:4} {row['nonzeros']:10} "
                    f"{row['trees'] / row['targets']:6.1f} {row['seconds']:7.2f} {row['ms_per_target']:9.2f} "
                    f"{row['ms_per_tree']:8.4f}",
                    flush=True,
                )
    draw(series)
    linear = {
        "seconds by targets": line(series["targets"], "targets", "seconds"),
        "per tree by non-zeros, more cells": line(series["cells"], "nonzeros", "ms_per_tree"),
        "per tree by non-zeros, more TFs": line(series["tfs"], "nonzeros", "ms_per_tree"),
    }
    for name, fit in linear.items():
        print(f"{name}: exponent {fit['exponent']:.2f}, straight line R2 {fit['r2']:.3f}")
    print(f"plot {PLOT}")
    summary = {"benchmark": "grnboost2_growth", "threads": args.threads, "scale": args.scale, "linear": linear}
    print(json.dumps({**summary, "series": series}))


if __name__ == "__main__":
    main()
