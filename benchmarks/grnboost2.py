"""GRNBoost2: speed and results of our engine, compared with arboreto's per-target function and rustscenic.

    python -m benchmarks.grnboost2                           everything, about half an hour on 2 cores
    python -m benchmarks.grnboost2 --parts pbmc3k seeds      a choice of: pbmc3k dense large agreement simulated seeds
    pip install rustscenic                                   adds that peer (any environment with llm4grn will do)

pbmc3k has 2700 cells, 1000 genes and the larger human list of TFs. dense (6000 cells at twice the depth) and large
(66,000 cells) resample its cells with count noise. Each measurement runs in a process of its own that first infers two
targets, to load libraries and start workers; peers alternate. Ratios are of seconds per target, because rustscenic fits
the TFs as targets too; arboreto is timed on a part of the targets where all would take hours. The last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from llm4grn.data.preprocess import Preprocessing
from llm4grn.data.sources import PBMC3k
from llm4grn.inference.grnboost2 import GRNBoost2, combine
from llm4grn.knowledge.curated import CuratedList

LIBRARY_SIZE = 20_000
PARTS = ["pbmc3k", "dense", "large", "agreement", "simulated", "seeds"]


# -- data: h5ad files with the TFs marked in var["tf"]


def pbmc3k() -> anndata.AnnData:
    """Return normalised cells, with the raw counts as a layer."""
    preprocessing = Preprocessing(
        n_genes=1000, min_cells=50, min_genes=10, n_test=500, n_validation=500, library_size=LIBRARY_SIZE
    )
    raw = PBMC3k().load()
    adata = preprocessing.run(raw, 1000)
    cells = anndata.AnnData(adata.X, var=pd.DataFrame(index=adata.var_names))
    cells.layers["counts"] = raw[adata.obs_names, adata.var_names].X
    cells.var["tf"] = cells.var_names.isin(CuratedList("human", "scenic").symbols)
    return cells


def resampled(cells: anndata.AnnData, n_cells: int, depth: float) -> anndata.AnnData:
    """Return cells drawn with replacement, with Poisson counts around 4/5 of their own and 1/5 of the mean cell's."""
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(cells.layers["counts"]).astype(np.float64)
    mean = np.asarray(counts.mean(axis=0)).ravel()
    parts = []
    for rows in np.array_split(rng.integers(0, cells.n_obs, n_cells), n_cells // 1000):
        expected = depth * (0.8 * counts[rows].toarray() + 0.2 * mean)
        parts.append(sp.csr_matrix(rng.poisson(expected).astype(np.float64)))
    drawn = sp.vstack(parts)
    sizes = np.asarray(drawn.sum(axis=1)).ravel()
    return anndata.AnnData(sp.csr_matrix(sp.diags(LIBRARY_SIZE / sizes) @ drawn, dtype=np.float32), var=cells.var)


def simulated(n_cells: int = 1000, n_tfs: int = 100, n_targets: int = 200, k: int = 10) -> anndata.AnnData:
    """Return uniform TFs, and targets that are sums of ``k`` TFs with uniform weights and noise; truth in ``uns``."""
    rng = np.random.default_rng(0)
    tfs = rng.random((n_cells, n_tfs))
    weights = np.zeros((n_tfs, n_targets))
    for target in range(n_targets):
        weights[rng.permutation(n_tfs)[:k], target] = rng.random(k)
    targets = tfs @ weights + rng.normal(0, 0.3, (n_cells, n_targets))
    names = [f"tf{i:03d}" for i in range(n_tfs)] + [f"gene{i:03d}" for i in range(n_targets)]
    var = pd.DataFrame({"tf": np.arange(len(names)) < n_tfs}, index=names)
    expression = np.column_stack([tfs, np.maximum(targets, 0)]).astype(np.float32)
    return anndata.AnnData(expression, var=var, uns={"truth": weights > 0})


# -- one measurement, in a process of its own


def infer(engine: str, adata: anndata.AnnData, seed: int, args: argparse.Namespace) -> pd.DataFrame:
    tfs = list(adata.var_names[adata.var["tf"]])
    if engine == "rustscenic":
        import rustscenic.grn

        return rustscenic.grn.infer(adata, tfs, seed=seed, verbose=False)
    return GRNBoost2(args.threads, engine, args.n_seeds).infer(adata, tfs, seed).edges


def with_targets(adata: anndata.AnnData, n: int) -> anndata.AnnData:
    """Return the TFs and ``n`` of the other genes, spread evenly over the list."""
    others = np.flatnonzero(~adata.var["tf"])
    chosen = others[np.linspace(0, len(others) - 1, n).astype(int)]
    return adata[:, np.sort(np.append(np.flatnonzero(adata.var["tf"]), chosen))].copy()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Write the edges to a file, and return seconds, targets and the peak memory of this process in GB."""
    adata = anndata.read_h5ad(args.data)
    if args.targets:
        adata = with_targets(adata, args.targets)
    start = time.perf_counter()
    infer(args.measure, with_targets(adata, 2), 0, argparse.Namespace(**{**vars(args), "n_seeds": 1}))
    warm_up = time.perf_counter() - start
    start = time.perf_counter()
    edges = infer(args.measure, adata, args.seed, args)
    seconds = time.perf_counter() - start
    edges.to_csv(args.edges, sep="\t", index=False)
    n_targets = adata.n_vars if args.measure == "rustscenic" else int((~adata.var["tf"]).sum())
    return {"seconds": seconds, "per_target": seconds / n_targets, "warm_up": warm_up, "peak_gb": peak_memory()}


def peak_memory() -> float:
    """Return the peak memory of this process in GB; that of getrusage would include the parent at the fork."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024**2


class Bench:
    """Data sets on disk and measurements made so far."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads
        self.measured: dict[tuple, dict[str, float]] = {}

    @cache  # noqa: B019 - a single instance lives as long as the process
    def data(self, name: str) -> Path:
        path = self.folder / f"{name}.h5ad"
        make: dict[str, Callable[[], anndata.AnnData]] = {
            "pbmc3k": pbmc3k,
            "dense": lambda: resampled(pbmc3k(), 6000, 2.0),
            "large": lambda: resampled(pbmc3k(), 66_000, 1.0),
            "simulated": simulated,
        }
        adata = make[name]()
        adata.write_h5ad(path)
        density = np.mean(np.asarray(adata[:, adata.var["tf"]].to_df()) > 0)
        print(f"{name}: {adata.n_obs} cells, {adata.n_vars} genes, {adata.var['tf'].sum()} TFs, density {density:.3f}")
        return path

    def run(self, engine: str, data: str, seed: int, targets: int = 0, n_seeds: int = 1, **environment: str) -> dict:
        key = engine, data, seed, targets, n_seeds
        if environment or key not in self.measured:
            arguments = {"measure": engine, "data": self.data(data), "seed": seed, "targets": targets}
            arguments |= {"n-seeds": n_seeds, "threads": self.threads, "edges": self.edges(*key)}
            options = [f"--{name}={value}" for name, value in arguments.items()]
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.grnboost2", *options]
            one = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(self.threads)}
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **one, **environment})
            if done.returncode:
                sys.exit(f"{engine} failed on {data}:\n{done.stderr[-2000:]}")
            row = self.measured[key] = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{data:10} {engine:10} seed {seed} {row['seconds']:8.2f} s {1000 * row['per_target']:8.2f} ms/target "
                f"{row['peak_gb']:5.2f} GB",
                flush=True,
            )
        return self.measured[key]

    def edges(self, *key: object) -> Path:
        return self.folder / ("-".join(map(str, key)) + ".tsv")

    def importances(self, engine: str, data: str, seed: int, n_seeds: int = 1) -> pd.DataFrame:
        """Return the importances, (n_tfs, n_targets), with 0 where there is no edge."""
        self.run(engine, data, seed, n_seeds=n_seeds)
        var = anndata.read_h5ad(self.data(data), backed="r").var
        table = pd.read_csv(self.edges(engine, data, seed, 0, n_seeds), sep="\t", keep_default_na=False)
        table = table.pivot(index="TF", columns="target", values="importance")
        return table.reindex(index=var.index[var["tf"]], columns=var.index[~var["tf"]]).fillna(0.0)


# -- the figures


def speed(bench: Bench, data: str, peers: dict[str, int], repeats: int) -> dict[str, object]:
    """Return the seconds of each peer and our speed-up; ``peers`` gives their numbers of targets, 0 for all."""
    rows: dict[str, list[dict]] = {engine: [] for engine in peers}
    for seed in range(1, repeats + 1):
        for engine, targets in peers.items():
            rows[engine].append(bench.run(engine, data, seed, targets))
    summary: dict[str, object] = {}
    for engine, measured in rows.items():
        summary[engine] = {name: statistics.median(row[name] for row in measured) for name in measured[0]}
        if engine != "native":
            ratios = [b["per_target"] / a["per_target"] for a, b in zip(rows["native"], measured, strict=True)]
            summary[f"{engine}/native"] = [min(ratios), statistics.median(ratios), max(ratios)]
    return summary


def top_jaccard(one: pd.DataFrame, other: pd.DataFrame, k: int = 10) -> float:
    """Return the mean over targets of the Jaccard index of the ``k`` best TFs."""
    best = [np.argsort(-table.to_numpy(), axis=0, kind="stable")[:k].T for table in (one, other)]
    return float(np.mean([len({*a} & {*b}) / len({*a, *b}) for a, b in zip(*best, strict=True)]))


def spearman(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the mean over targets of the rank correlation of their importances."""
    return float(one.rank().corrwith(other.rank()).mean())


def agreement(bench: Bench, data: str, pairs: int) -> dict[str, dict[str, float]]:
    """Compare ours with arboreto of another seed, and arboreto with itself under another seed."""
    scores: dict[str, list[tuple[float, float]]] = {"native": [], "arboreto": []}
    for seed in range(1, pairs + 1):
        reference = bench.importances("arboreto", data, seed + pairs)
        for engine, found in scores.items():
            table = bench.importances(engine, data, seed)
            found.append((top_jaccard(table, reference), spearman(table, reference)))
    return {
        f"{engine}-arboreto": dict(zip(("top10_jaccard", "spearman"), np.mean(found, axis=0).tolist(), strict=True))
        for engine, found in scores.items()
    }


def auprc(bench: Bench, n_seeds: int) -> dict[str, list[float]]:
    """Return the average precision of all edges against the simulated truth: mean over seeds and standard error."""
    from sklearn.metrics import average_precision_score

    truth = np.asarray(anndata.read_h5ad(bench.data("simulated")).uns["truth"]).ravel()
    found: dict[str, list[float]] = {"random": [float(truth.mean()), 0.0]}
    for engine in "native", "arboreto":
        tables = [bench.importances(engine, "simulated", seed).to_numpy() for seed in range(1, n_seeds + 1)]
        scores = [average_precision_score(truth, table.ravel()) for table in tables]
        found[engine] = [statistics.mean(scores), statistics.stdev(scores) / len(scores) ** 0.5]
    return found


def seeds(bench: Bench, n_seeds: int) -> dict[str, object]:
    """Compare two networks of ``n_seeds`` seeds each with one run of arboreto, and two ways to combine the seeds."""
    one, other = (bench.importances("native", "pbmc3k", seed, n_seeds) for seed in (1, 2))
    ours, theirs = bench.run("native", "pbmc3k", 1, n_seeds=n_seeds), bench.run("arboreto", "pbmc3k", 1)
    return {
        "n_seeds": n_seeds,
        "top10_jaccard": top_jaccard(one, other),
        "spearman": spearman(one, other),
        "seconds": ours["seconds"],
        "arboreto_seconds": theirs["seconds"],
        "combined": {data: combined(bench, data, n_seeds) for data in ("pbmc3k", "simulated")},
    }


def combined(bench: Bench, data: str, n_seeds: int) -> dict[str, dict[str, float]]:
    """Compare the mean of ``n_seeds`` with an arithmetic one: agreement of two groups of seeds, and AUPRC."""
    groups = range(1, n_seeds + 1), range(n_seeds + 1, 2 * n_seeds + 1)
    runs = [[bench.importances("native", data, seed) for seed in group] for group in groups]
    truth = anndata.read_h5ad(bench.data(data)).uns.get("truth")
    found = {}
    for name, mean in {"power mean": combine, "arithmetic mean": lambda tables: tables.mean(axis=0)}.items():
        tables = [pd.DataFrame(mean(np.stack([run.to_numpy() for run in group]))) for group in runs]
        found[name] = {"top10_jaccard": top_jaccard(*tables)}
        if truth is not None:
            from sklearn.metrics import average_precision_score

            best = [np.argsort(-table.to_numpy(), axis=0, kind="stable")[:10] for table in tables]
            precision = [average_precision_score(truth.ravel(), table.to_numpy().ravel()) for table in tables]
            found[name]["auprc"] = np.mean(precision)
            found[name]["recall_at_10"] = np.mean([np.take_along_axis(truth, b, axis=0).mean() for b in best])
    return {name: {key: float(value) for key, value in scores.items()} for name, scores in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    for name, default in ("repeats", 3), ("threads", 2), ("n-seeds", 10):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", choices=["native", "arboreto", "rustscenic"], help=argparse.SUPPRESS)
    for name, kind in ("data", str), ("edges", str), ("seed", int), ("targets", int):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    peers = {"native": 0, "arboreto": 0}
    if importlib.util.find_spec("rustscenic"):
        peers["rustscenic"] = 0
    else:
        print("without rustscenic: to compare with it too, pip install rustscenic")
    summary: dict[str, object] = {"benchmark": "grnboost2", "threads": args.threads, "repeats": args.repeats}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.threads)
        compiled = bench.run("native", "pbmc3k", 0, 20, NUMBA_CACHE_DIR=f"{folder}/cache")["warm_up"]
        summary["compile_seconds"] = compiled - bench.run("native", "pbmc3k", 1, 20)["warm_up"]
        parts: dict[str, Callable[[], object]] = {
            "pbmc3k": lambda: speed(bench, "pbmc3k", peers, args.repeats),
            "dense": lambda: speed(bench, "dense", {**peers, "arboreto": 100}, args.repeats),
            "large": lambda: speed(bench, "large", {"native": 0, "arboreto": 20}, 1),
            "agreement": lambda: agreement(bench, "pbmc3k", 3),
            "simulated": lambda: auprc(bench, 6),
            "seeds": lambda: seeds(bench, args.n_seeds),
        }
        for part in args.parts:
            summary[part] = parts[part]()
            print(f"{part}: {json.dumps(summary[part])}", flush=True)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
