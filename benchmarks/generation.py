"""Cells per second and peak memory of generate.py's writer, for growing numbers of cells.

    python -m benchmarks.generation                       10,000, 100,000 and 1,000,000 cells; some minutes
    python -m benchmarks.generation --run outputs/pbmc3k_human_grnboost2_small_top10_seed1000_8a09cc21
    python -m benchmarks.generation --cells 10000 --repeats 1                to try it out

Without --run the model is untrained, with 1000 genes, 75 TFs, k 10, networks and batch of model=small, and outputs as
sparse as single cells. Each measurement runs in a process of its own; anndata reads its file back before the file is
removed. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llm4grn.gan.causal_gan import CausalGAN


def untrained(n_genes: int, n_tfs: int, k: int) -> CausalGAN:
    """Return an untrained causal GAN of the size of model=small whose cells express about a tenth of the genes."""

    from benchmarks.causal_gan import LIBRARY_SIZE, problem
    from llm4grn.gan.hyperparameters import CausalGANHyperparameters
    from llm4grn.gan.networks import CellGenerator

    graph, cells, _ = problem(n_genes, n_tfs, k, batch=256)
    rates = {"generator_lr": [1e-3, 1e-3], "critic_lr": [1e-3, 1e-3]}
    layers = {"critic_layers": [256, 128], "labeler_layers": [256]}
    hyper = CausalGANHyperparameters(steps=1, batch_size=128, preconditioned=True, **rates, **layers)
    return CausalGAN(cells, graph, CellGenerator(128, [256, 256], len(graph.genes)), hyper, LIBRARY_SIZE, seed=0)


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Return seconds, cells per second, the peak memory of this process in GB, and the content of the file."""
    import h5py
    import torch

    from llm4grn.gan.api import load_trained
    from llm4grn.gan.generation import write_cells

    model = load_trained(Path(args.run))[0] if args.run else untrained(args.genes, args.tfs, args.k)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "cells.h5ad"
        write_cells(model, path, args.cells[0], seed=0, compression=args.compression)  # compiles the kernels
        start = time.perf_counter()
        write_cells(model, path, args.measure, seed=0, compression=args.compression)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        with h5py.File(path) as file:
            stored, kind = len(file["X/data"]), str(file["X/indptr"].dtype)
        size = path.stat().st_size / 1e9
        check(path, args.measure)
    expressed = stored / args.measure / len(model.generator.genes)
    rates = {"seconds": seconds, "cells_per_second": args.measure / seconds}
    return {**rates, "peak_gb": peak, "file_gb": size, "expressed": expressed, "indptr": kind}


def check(path: Path, n_cells: int) -> None:
    """Open the file as a user would, in backed mode, and read cells from its middle."""
    import anndata

    adata = anndata.read_h5ad(path, backed="r")
    some = adata[n_cells // 2 : n_cells // 2 + 10].to_memory()
    if adata.n_obs != n_cells or some.X.format != "csr" or not some.X.has_canonical_format:
        sys.exit(f"{path}: not the cells that were asked for")
    adata.file.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in ("genes", 1000), ("tfs", 75), ("k", 10), ("threads", 2), ("repeats", 1):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--run", help="folder of a finished run")
    parser.add_argument("--folder", help="where the files are written; the system's for temporary files by default")
    parser.add_argument("--compression", choices=["gzip"], help="of the file")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    rows = []
    print(f"{'cells':>9} {'seconds':>8} {'cells/s':>8} {'GB memory':>10} {'GB file':>8}")
    for n_cells in args.cells:
        found = []
        for _ in range(args.repeats):
            command = [sys.executable, "-m", "benchmarks.generation", *sys.argv[1:], "--measure", str(n_cells)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            found.append(json.loads(output.stdout.splitlines()[-1]))
        row = {"cells": n_cells, **sorted(found, key=lambda each: each["seconds"])[len(found) // 2]}
        row["all_seconds"] = [each["seconds"] for each in found]
        rows.append(row)
        print(
            f"{n_cells:9} {row['seconds']:8.1f} {row['cells_per_second']:8.0f} {row['peak_gb']:10.2f} "
            f"{row['file_gb']:8.2f}",
            flush=True,
        )
    del args.measure
    print(json.dumps({"benchmark": "generation", **vars(args), "rows": rows}))


if __name__ == "__main__":
    main()
