"""Check that GRNBoost2 on dask gives bit for bit the network of threads, also if workers are killed halfway.

    python -m benchmarks.grnboost2_dask                      pbmc3k, 1000 genes, 10 seeds, 2 workers; a minute
    python -m benchmarks.grnboost2_dask --n-seeds 2

It compares the threads of one process with a running cluster of as many worker processes, and with the same cluster
when one worker, or all of them, are killed with SIGKILL halfway. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time

from distributed import Client, LocalCluster

from benchmarks.grnboost2 import pbmc3k
from llm4grn.inference.grnboost2 import GRNBoost2


def kill(address: str, n_workers: int) -> int:
    """Kill some workers of a cluster, and return how many of these were busy with targets."""
    with Client(address, set_as_default=False) as client:
        ids = client.run(os.getpid)
        busy = sum(any("_boost" in task for task in tasks) for tasks in client.processing().values())
    for pid in list(ids.values())[:n_workers]:
        os.kill(pid, signal.SIGKILL)
    return busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--n-seeds", type=int, default=10)
    args = parser.parse_args()
    adata = pbmc3k()
    tfs = list(adata.var_names[adata.var["tf"]])

    def infer(**options: object) -> tuple[object, float]:
        start = time.perf_counter()
        grn = GRNBoost2(n_jobs=args.workers, n_seeds=args.n_seeds, **options).infer(adata, tfs, 0)
        return grn, round(time.perf_counter() - start, 2)

    infer()  # compiles the kernels
    expected, seconds = infer()
    summary: dict[str, object] = {"benchmark": "grnboost2_dask", **vars(args), "threads": {"seconds": seconds}}
    print(f"threads: {seconds} s, {len(expected.edges)} edges", flush=True)
    identical = True
    with LocalCluster(args.workers, threads_per_worker=1, host="127.0.0.1", memory_limit=0) as cluster:
        address = cluster.scheduler_address
        infer(backend="dask", scheduler=address)
        _, undisturbed = infer(backend="dask", scheduler=address)
        for n_killed in 0, 1, args.workers:
            busy: list[int] = []
            killer = threading.Timer(undisturbed / 2, lambda n=n_killed, busy=busy: busy.append(kill(address, n)))
            killer.start()
            grn, seconds = infer(backend="dask", scheduler=address)
            killer.join()
            same = bool(grn.edges.equals(expected.edges))
            identical &= same and busy[0] > 0
            summary[f"dask, {n_killed} killed"] = {"seconds": seconds, "identical": same, "busy_when_killed": busy[0]}
            print(f"dask, {n_killed} workers killed, {busy[0]} busy: {seconds} s, identical: {same}", flush=True)
    print(json.dumps(summary))
    if not identical:
        sys.exit(1)


if __name__ == "__main__":
    main()
