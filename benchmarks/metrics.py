"""What each metric detects and costs, and whether fast is exact. Each command rewrites a table of docs/metrics.md.

    python -m benchmarks.metrics ruler         real cells compared with real cells, intact and damaged (minutes)
    python -m benchmarks.metrics cost          time and peak memory at 1,000, 5,000 and 20,000 cells a side (minutes)
    python -m benchmarks.metrics cost --sizes 1000 --metrics mmd milisi
    python -m benchmarks.metrics agreement     values beside those of scikit-learn and float64 (half an hour)
    --dry                                      print the table, and do not change the page

The last line is JSON. The exit status of ``cost`` is 1 if all metrics together at 1,000 cells take more than 15 s or
1 GB. Every measurement of ``cost`` runs in a process of its own, on sparse cells of 1000 genes, without the imports.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.agreement import DEGREES
from llm4grn.metrics.registry import METRICS
from llm4grn.store import atomic_write

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
N_GENES = 1000
LIBRARY_SIZE = 20_000
SIZES = (1000, 5000, 20_000)
ALL = "all together"
MOST_SECONDS, MOST_MEGABYTES = 15.0, 1000.0


def ruler(n_cells: int, n_seeds: int, metrics: Sequence[str]) -> tuple[list[list[str]], dict[str, object]]:
    """Return the table of damages by metrics, as Markdown and for the JSON line."""
    from benchmarks import ruler

    found = ruler.measure(ruler.pbmc3k(), n_cells, range(n_seeds), metrics)
    lines = [["", *(f"{METRICS[name].label} {METRICS[name].arrow}" for name in metrics)]]
    lines += [[ruler.UNDAMAGED, *(_spread(found.values[ruler.UNDAMAGED][name], name) for name in metrics)]]
    for damage in ruler.DAMAGES:
        cells = []
        for name in metrics:
            text = f"{METRICS[name].format(found.mean(damage, name))} ({round(found.effect(damage, name)):+d})"
            cells.append(f"**{text}**" if found.sees(damage, name) else text)
        lines.append([damage, *cells])
    seen = {d: [name for name in metrics if found.sees(d, name)] for d in ruler.DAMAGES}
    return lines, {"benchmark": "metrics ruler", "n_cells": n_cells, "splits": n_seeds, "seen": seen}


def _spread(values: Sequence[float], name: str) -> str:
    return f"{METRICS[name].format(min(values))} to {METRICS[name].format(max(values))}"


def cost(sizes: Sequence[int], metrics: Sequence[str]) -> tuple[list[list[str]], dict[str, object]]:
    """Return the table of metrics by numbers of cells, as Markdown and for the JSON line."""
    lines = [["", *(f"{size:,} cells" for size in sizes)]]
    measured: dict[str, dict[int, dict[str, float]]] = {}
    for name in (*metrics, ALL):
        for size in sizes:
            chosen = metrics if name == ALL else [name]
            command = [sys.executable, "-m", "benchmarks.metrics", "once", "--sizes", str(size), "--metrics", *chosen]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PAGE.parents[1])
            measured.setdefault(name, {})[size] = json.loads(done.stdout.splitlines()[-1])
            print(name, size, measured[name][size], flush=True)
        label = METRICS[name].label if name in METRICS else name
        times = (
            f"{of['seconds']:.1f} s, {of['processor']:.1f} s, {of['megabytes']:,.0f} MB"
            for of in measured[name].values()
        )
        lines.append([label, *times])
    return lines, {"benchmark": "metrics cost", "genes": N_GENES, "measured": measured}


def once(n_cells: int, metrics: Sequence[str]) -> dict[str, float]:
    """Return seconds, seconds of all processors, and peak memory of one scoring, in this process."""
    import sklearn.decomposition
    import sklearn.ensemble
    import sklearn.manifold
    import sklearn.metrics
    import sklearn.model_selection  # noqa: F401

    from llm4grn.evaluation.scores.score import score

    few = made_cells(60, 0)
    score(few, few, 0, metrics)  # reads compiled code, or compiles it
    real, synthetic = (made_cells(n_cells, seed) for seed in (0, 1))
    begin, processor = time.perf_counter(), time.process_time()
    values = score(real, synthetic, 0, metrics)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"seconds": round(seconds, 3), "processor": round(processor, 3), "megabytes": round(peak, 1), **values}


def made_cells(n_cells: int, seed: int):
    """Return normalised sparse counts of ten cell types, made in pieces that do not raise the peak memory."""
    import numpy as np
    from scipy import sparse

    profiles = np.random.default_rng(0).gamma(0.2, 0.5, size=(10, N_GENES))
    rng = np.random.default_rng([seed, n_cells])
    parts = []
    for start in range(0, n_cells, 500):
        depth = rng.lognormal(0.0, 0.5, size=(min(500, n_cells - start), 1))
        counts = rng.poisson(depth * profiles[rng.integers(10, size=len(depth))]).astype(np.float32)
        counts *= LIBRARY_SIZE / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        parts.append(sparse.csr_matrix(counts))
    return sparse.vstack(parts, format="csr")


def agreement(sizes: Sequence[int], n_pairs: int, degrees: Sequence[str]) -> tuple[list[list[str]], dict[str, object]]:
    """Return the table of agreements, as Markdown and for the JSON line."""
    from benchmarks import agreement

    lines = [["cells a side", "second set", "metric", "here", "reference", "largest difference"]]
    found = []
    for one in agreement.measure(sizes, n_pairs, degrees):
        found.append(one)
        print(one.cells, flush=True)
    lines += [one.cells for one in found]
    return lines, {"benchmark": "metrics agreement", "found": [asdict(one) for one in found]}


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])) + "\n"


def _write(name: str, table: str) -> None:
    """Write the table between its two marks on the page."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    with atomic_write(PAGE) as path:
        path.write_text(before + begin + table + end + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", choices=("ruler", "cost", "agreement", "once"), help="once: one measurement of cost, in this process"
    )
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), choices=list(METRICS))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="cells a side, for cost")
    parser.add_argument("--cells", type=int, default=500, help="cells a side, for the ruler")
    parser.add_argument("--splits", type=int, default=5, help="for the ruler")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of sets, for the agreement")
    parser.add_argument("--degrees", nargs="+", default=list(DEGREES), choices=list(DEGREES), help="for the agreement")
    parser.add_argument("--dry", action="store_true", help="leave docs/metrics.md as it is")
    chosen = parser.parse_args()
    if chosen.what == "once":
        print(json.dumps(once(chosen.sizes[0], chosen.metrics)))
        return
    if chosen.what == "ruler":
        lines, record = ruler(chosen.cells, chosen.splits, chosen.metrics)
    elif chosen.what == "agreement":
        lines, record = agreement(chosen.sizes, chosen.pairs, chosen.degrees)
    else:
        lines, record = cost(chosen.sizes, chosen.metrics)
    table = _markdown(lines)
    print(table)
    if not chosen.dry:
        _write(chosen.what, table)
    print(json.dumps(record))
    thousand = record.get("measured", {}).get(ALL, {}).get(1000)
    if thousand and (thousand["seconds"] > MOST_SECONDS or thousand["megabytes"] > MOST_MEGABYTES):
        sys.exit(1)


if __name__ == "__main__":
    main()
