"""``llm4grn adjacencies``: time and memory on all genes, beside arboreto, and on 100,000 cells, alone and with dask.

    python -m benchmarks.adjacencies                                    everything; an hour and more on 2 cores
    python -m benchmarks.adjacencies --parts pbmc3k                     all of pbmc3k beside arboreto; five minutes
    python -m benchmarks.adjacencies --parts large --targets 2000       fewer genes besides the TFs
    python -m benchmarks.adjacencies --parts large --cells 5000 --genes 3000     small

pbmc3k: the command as a user types it, on 2,700 cells x 13,714 genes with SCENIC's list of human TFs; in turn with it
arboreto's per-target function over as many processes, on 100 targets, other ones in each repeat. What arboreto would
take for all is extrapolated from these. large: cells drawn with replacement from those of pbmc3k, with Poisson counts
around 4/5 of their own and 1/5 of the mean cell's; genes beyond those of pbmc3k are drawn from them. The readers are
measured on the same file in processes of their own. Memory is the largest sum over the processes of a command, and
with dask of the workers too, looked at ten times a second; CPU seconds are those of all of them, which other work on
the machine changes less than the time from start to end. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import psutil
import scipy.sparse as sp

from llm4grn.data.sources import PBMC3k
from llm4grn.inference.expression import Expression
from llm4grn.inference.grnboost2 import GRNBoost2
from llm4grn.knowledge.curated import CuratedList, tfs_among

_PEER_TARGETS = 100
_CHUNK = 10_000  # cells that are drawn at once


# -- data


def resampled(n_cells: int, n_genes: int, n_targets: int | None) -> anndata.AnnData:
    """Return raw counts of ``n_cells`` drawn cells and ``n_genes`` genes, or of the TFs and ``n_targets`` others.

    A Poisson draw around a sum is the sum of two draws; that around the mean cell is made molecule by molecule.
    """
    rng = np.random.default_rng(0)
    raw = PBMC3k().load()
    tfs = np.isin(raw.var_names, CuratedList("human", "scenic").symbols)
    others = np.flatnonzero(~tfs)
    more = rng.choice(others, max(n_genes - raw.n_vars, 0))
    genes = np.concatenate([np.flatnonzero(tfs), others, more])[:n_genes]
    if n_targets is not None:
        genes = np.concatenate([genes[: tfs.sum()], rng.choice(genes[tfs.sum() :], n_targets, replace=False)])
    counts = sp.csr_matrix(raw.X)[:, genes].astype(np.float64)
    mean = np.asarray(counts.mean(axis=0)).ravel()
    parts = []
    for start in range(0, n_cells, _CHUNK):
        own = counts[rng.integers(0, raw.n_obs, min(_CHUNK, n_cells - start))]
        own.data = rng.poisson(0.8 * own.data).astype(np.float32)
        molecules = rng.poisson(0.2 * mean.sum(), own.shape[0])
        cells = np.repeat(np.arange(own.shape[0]), molecules)
        drawn = rng.choice(len(genes), molecules.sum(), p=mean / mean.sum())
        ambient = sp.csr_matrix((np.ones(len(cells), np.float32), (cells, drawn)), shape=own.shape)
        both = sp.csr_matrix(own + ambient, dtype=np.float32)
        both.eliminate_zeros()
        parts.append(both)
    names = pd.Series(raw.var_names[genes].astype(str))
    copies = names.groupby(names).cumcount()
    var = pd.DataFrame(index=[f"{name}_copy{i}" if i else name for name, i in zip(names, copies, strict=True)])
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    return anndata.AnnData(sp.vstack(parts, format="csr"), obs=obs, var=var)


# -- measurements, each of a process of its own


class Memory:
    """The largest sum of the resident memory of some processes and all below them, in GB, while the block runs."""

    def __init__(self, *pids: int) -> None:
        self.pids, self.peak_gb, self._over = pids, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            total = 0
            for pid in self.pids:
                try:
                    process = psutil.Process(pid)
                    family = [process, *process.children(recursive=True)]
                    total += sum(member.memory_info().rss for member in family)
                except psutil.Error:
                    continue
            self.peak_gb = max(self.peak_gb, total / 1024**3)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """Return what this program's ended child processes, and some running ones, have computed so far."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [psutil.Process(pid).cpu_times() for pid in pids]
    return ended.ru_utime + ended.ru_stime + sum(times.user + times.system for times in running)


def timed(command: list[str], *more_pids: int) -> dict[str, float]:
    """Run Python with some arguments; return seconds from start to end, those of all cores, and the peak memory in GB.

    The processes of ``more_pids`` work for it, and count too.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start, computed = time.perf_counter(), cpu_seconds(more_pids)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", *command], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    with Memory(process.pid, *more_pids) as memory:
        _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors.decode()[-2000:]}")
    seconds, computed = time.perf_counter() - start, cpu_seconds(more_pids) - computed
    return {"seconds": round(seconds, 1), "cpu_seconds": round(computed, 1), "peak_gb": round(memory.peak_gb, 2)}


def command(cells: Path, tfs: Path, output: Path, workers: int, *more: str) -> list[str]:
    return ["-m", "llm4grn", "adjacencies", str(cells), str(tfs), "-o", str(output), f"--workers={workers}", *more]


def reading(cells: Path, method: str) -> list[str]:
    """Return a command that reads the cells as ``dataset=file`` does (load), or as adjacencies does (expression)."""
    return ["-c", f"from llm4grn.data.users_files import CellFile; CellFile({str(cells)!r}).{method}()"]


# -- the figures


def pbmc3k(folder: Path, tfs: Path, workers: int, repeats: int, n_targets: int) -> dict[str, object]:
    """Measure the command on all genes, in turn with arboreto on some targets."""
    adata = PBMC3k().load()
    cells = folder / "pbmc3k.h5ad"
    adata.write_h5ad(cells)
    expression = Expression.of(adata, tfs_among(list(adata.var_names), tfs), "GRNBoost2", every_gene=True)
    order = np.random.default_rng(0).permutation(expression.targets)
    timed(command(cells, tfs, folder / "warm.tsv", workers))  # compiles the kernels, if nobody has
    ours, peers, ratios = [], [], []
    for repeat in range(repeats):
        ours.append(timed(command(cells, tfs, folder / "all.tsv", workers)))
        some = np.sort(order[repeat * n_targets :][:n_targets])
        part = Expression(expression.genes, expression.matrix, expression.tfs, some)
        start = time.perf_counter()
        GRNBoost2(workers, "arboreto").rank(part, repeat)
        peers.append(time.perf_counter() - start)
        extrapolated = peers[-1] / n_targets * len(expression.targets)
        ratios.append(extrapolated / ours[-1]["seconds"])
        print(
            f"ours {ours[-1]['seconds']} s, {ours[-1]['peak_gb']} GB; arboreto {peers[-1]:.1f} s for {n_targets} of "
            f"{len(expression.targets)} targets, {extrapolated / 3600:.2f} h extrapolated; ratio {ratios[-1]:.0f}",
            flush=True,
        )
    return {
        "genes": len(expression.targets),
        "tfs": len(expression.tfs),
        "seconds": statistics.median(row["seconds"] for row in ours),
        "cpu_seconds": statistics.median(row["cpu_seconds"] for row in ours),
        "peak_gb": max(row["peak_gb"] for row in ours),
        "arboreto_seconds": [round(seconds, 1) for seconds in peers],
        "arboreto_targets": n_targets,
        "extrapolated/ours": [round(statistics.median(ratios), 1), round(min(ratios), 1), round(max(ratios), 1)],
    }


def large(folder: Path, tfs: Path, args: argparse.Namespace) -> dict[str, object]:
    """Measure readers and command on many cells, on threads and on a cluster of processes."""
    from distributed import Client, LocalCluster

    cells = folder / "large.h5ad"
    adata = resampled(args.cells, args.genes, args.targets)
    density = adata.X.nnz / np.prod(adata.shape)
    found: dict[str, object] = {"cells": adata.n_obs, "genes": adata.n_vars, "density": round(float(density), 4)}
    adata.write_h5ad(cells)
    del adata
    found["file_gb"] = round(cells.stat().st_size / 1024**3, 2)
    print(json.dumps(found), flush=True)
    for method in "load", "expression":
        found[f"reader, {method}"] = timed(reading(cells, method))
        print(method, found[f"reader, {method}"], flush=True)
    outputs = {}
    if "alone" in args.how:
        outputs["alone"] = folder / "alone.tsv"
        found["alone"] = timed(command(cells, tfs, outputs["alone"], args.workers))
        print("alone", found["alone"], flush=True)
    if "dask" in args.how:
        outputs["dask"] = folder / "dask.tsv"
        with LocalCluster(args.workers, threads_per_worker=1, host="127.0.0.1", memory_limit=0) as cluster:
            with Client(cluster.scheduler_address, set_as_default=False) as client:
                pids = list(client.run(os.getpid).values())
            address = cluster.scheduler_address
            found["dask"] = timed(command(cells, tfs, outputs["dask"], args.workers, f"--dask={address}"), *pids)
        print("dask", found["dask"], flush=True)
    found["sha256"] = {way: hashlib.file_digest(path.open("rb"), "sha256").hexdigest() for way, path in outputs.items()}
    found["edges"] = sum(1 for _ in next(iter(outputs.values())).open("rb")) - 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--parts", nargs="+", choices=["pbmc3k", "large"], default=["pbmc3k", "large"])
    add("--workers", type=int, default=2, help="threads, processes of arboreto, dask workers (default: 2)")
    add("--repeats", type=int, default=3, help="of pbmc3k (default: 3)")
    add("--peer-targets", type=int, default=_PEER_TARGETS, help="targets of arboreto in a repeat (default: 100)")
    add("--cells", type=int, default=100_000)
    add("--genes", type=int, default=20_000)
    add("--targets", type=int, help="genes besides the TFs (default: all)")
    add("--how", nargs="+", choices=["alone", "dask"], default=["alone", "dask"])
    args = parser.parse_args()
    summary: dict[str, object] = {"benchmark": "adjacencies", "workers": args.workers}
    tfs = Path(__file__).parents[1] / "llm4grn" / "knowledge" / "curated" / "human_tfs_scenic_hg38.txt"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "pbmc3k" in args.parts:
            summary["pbmc3k"] = pbmc3k(folder, tfs, args.workers, args.repeats, args.peer_targets)
        if "large" in args.parts:
            summary["large"] = large(folder, tfs, args)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
