"""Growth of stage 2's step time and memory with genes and with regulators per target, at the paper's other sizes.

    python -m benchmarks.causal_gan_growth                     batch 1024, 2 threads; some minutes
    python -m benchmarks.causal_gan_growth --batch 64          smaller, to try it out

It varies genes at k 10 with a tenth of them TFs, then k at 1000 genes, and ends with 5000 genes, 500 TFs, k 15. Each
size is measured in a process of its own by benchmarks.causal_gan. It prints a table, draws
benchmarks/causal_gan_growth.png, and ends with a JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

PLOT = Path(__file__).with_suffix(".png")
GENES = 500, 1000, 2000, 5000
REGULATORS = 5, 10, 20
LARGEST = {"genes": 5000, "tfs": 500, "k": 15}


def sizes() -> list[dict[str, int]]:
    by_genes = [{"genes": genes, "tfs": genes // 10, "k": 10} for genes in GENES]
    return by_genes + [{"genes": 1000, "tfs": 100, "k": k} for k in REGULATORS if k != 10] + [LARGEST]


def measure(size: dict[str, int], batch: int, threads: int) -> dict[str, float]:
    options = {**size, "batch": batch, "threads": threads, "measure": "ours", "steps": 2}
    command = [sys.executable, "-m", "benchmarks.causal_gan", *(f"--{name}={value}" for name, value in options.items())]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    edges = (size["genes"] - size["tfs"]) * size["k"]
    return {**size, "edges": edges, **json.loads(output.splitlines()[-1])}


def draw(rows: list[dict[str, float]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, quantity, title in zip(figure.subplots(1, 2), ("seconds", "peak_gb"), ("s per step", "GB"), strict=True):
        for label, chosen in (("k 10, more genes", "k"), ("1000 genes, larger k", "genes")):
            same = [row for row in rows if row[chosen] == {"k": 10, "genes": 1000}[chosen]]
            same.sort(key=lambda row: row["edges"])
            axis.plot([row["edges"] for row in same], [row[quantity] for row in same], marker="o", label=label)
        axis.set(xlabel="edges", ylabel=title, xlim=(0, None), ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(PLOT, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    rows = []
    print(f"{'genes':>6} {'TFs':>5} {'k':>3} {'edges':>7} {'s/step':>8} {'GB':>6} {'outside products':>17}")
    for size in sizes():
        row = measure(size, args.batch, args.threads)
        rows.append(row)
        print(
            f"{row['genes']:6} {row['tfs']:5} {row['k']:3} {row['edges']:7} {row['seconds']:8.2f} "
            f"{row['peak_gb']:6.2f} {row['outside_products']:17.1%}",
            flush=True,
        )
    draw(rows)
    print(f"plot {PLOT}")
    print(json.dumps({"benchmark": "causal_gan_growth", **vars(args), "rows": rows}))


if __name__ == "__main__":
    main()
