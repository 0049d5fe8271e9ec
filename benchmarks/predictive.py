"""The held-out predictive score of every kind of network on pbmc3k, and what it foretells of the generated cells.

    python -m benchmarks.predictive networks                        three seeds; minutes
    python -m benchmarks.predictive foretells outputs/pbmc3k_*      finished runs, for instance those of make table1

``networks`` prints the gain over random networks in R² on test cells: mean ± standard deviation over seeds, raw and
within cell type, by ridge regression and by trees, and the seconds per network. ``foretells`` prints Spearman's rank
correlation between the gain and the scores of the generated cells over all runs, which the score of a network precedes
by minutes. The scores of cells are first divided by those of the run's control, as splits differ in their floor; the
interval resamples whole settings, because runs of one setting are alike. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Hashable, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd

import llm4grn as lg
from llm4grn.evaluation.graphs.held_out import HeldOut
from llm4grn.evaluation.graphs.predictive import PredictiveRuler
from llm4grn.evaluation.graphs.predictive_table import run_score
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.results import of_cells, read_results

K = 10
NETWORKS = {
    "LLM": {"inferer": "llm"},
    "GRNBoost2": {"inferer": "grnboost2"},
    "consensus": {"inferer": "consensus"},
    "correlation": {"inferer": "correlation"},
    "shuffled LLM": {"inferer": "shuffled", "of": "llm"},
    "shuffled GRNBoost2": {"inferer": "shuffled", "of": "grnboost2"},
    "shuffled consensus": {"inferer": "shuffled", "of": "consensus"},
    "shuffled correlation": {"inferer": "shuffled", "of": "correlation"},
    "popular LLM": {"inferer": "popular", "of": "llm"},
    "random": {"inferer": "random"},
}
GAINS = ("raw ridge", "raw trees", "within cell type ridge", "within cell type trees")
N_RESAMPLES = 2_000


def networks(seeds: Sequence[int]) -> None:
    """Score all networks on the splits of ``seeds``."""
    gains: dict[str, dict[str, list[float]]] = {}
    seconds: list[float] = []
    for seed in seeds:
        cells = lg.preprocess(lg.datasets.pbmc3k(), seed=seed)
        tf_names = lg.transcription_factors(cells).names
        held_out = HeldOut.of(cells.train, cells.test, seed)
        ruler = None
        for name, options in NETWORKS.items():
            llm = "shipped" if "LLM" in name or "consensus" in name else None
            graph = lg.infer_grn(cells, llm=llm, seed=seed, **options).top(K)
            ruler = ruler or PredictiveRuler.of(held_out, graph, tf_names, seed=seed)
            started = time.perf_counter()
            summary = ruler.score(graph).summary()
            seconds.append(time.perf_counter() - started)
            for row in summary.itertuples():
                gains.setdefault(name, {}).setdefault(f"{row.cells} {row.model}", []).append(row.gain)
                gains.setdefault("all TFs", {}).setdefault(f"{row.cells} {row.model}", [])
                if name == "LLM":  # every network has the same ceiling
                    gains["all TFs"][f"{row.cells} {row.model}"].append(row.ceiling)
    gains["all TFs"] = gains.pop("all TFs")
    print(f"| network | {' | '.join(GAINS)} |\n| --- |{' ---: |' * len(GAINS)}")
    for name, own in gains.items():
        print(f"| {name} | {' | '.join(_mean(own[gain]) for gain in GAINS)} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nGain in R² over random networks, mean ± standard deviation over seeds {', '.join(map(str, seeds))}.")
    print(f"{fmean(seconds):.1f} s per network (both models, both spaces); peak memory {peak:.0f} MB.")
    print(json.dumps({"benchmark": "predictive", "gains": gains, "seconds": fmean(seconds), "peak_mb": peak}))


def foretells(folders: Sequence[Path], store: Path | None) -> None:
    """Correlate the gains of the networks of finished runs with the scores of their cells."""
    records = []
    rulers: dict[Hashable, PredictiveRuler] = {}
    for run in read_graph_runs(folders):
        results = of_cells(read_results(run.folder))
        record: dict[str, object] = {"setting": run.setting, "seed": run.seed}
        for metric in ("mmd", "rf_auroc"):
            means = {
                source: fmean(r.value for r in results if (r.source, r.metric) == (source, metric))
                for source in ("run", "control")
            }
            record[metric] = means["run"] / means["control"]
        score = run_score(run, store, rulers)
        if score is not None:
            rows = score.summary().itertuples()
            records.append(record | {f"{row.cells} {row.model}": row.gain for row in rows})
    table = pd.DataFrame(records)
    rng, rows = np.random.default_rng(0), []
    for gain in (name for name in GAINS if name in table):
        for metric in ("mmd", "rf_auroc"):
            rho = table[gain].corr(table[metric], method="spearman")
            low, high = _interval(table, gain, metric, rng)
            rows.append({"gain": gain, "metric": metric, "rho": rho, "low": low, "high": high})
    print("| gain | score of the cells | Spearman's rho | 95 % interval |\n| --- | --- | ---: | ---: |")
    for row in rows:
        print("| {gain} | {metric} | {rho:.2f} | {low:.2f} to {high:.2f} |".format(**row))
    print(f"\n{len(table)} runs of {table['setting'].nunique()} settings; negative: a higher gain, closer cells.")
    print(json.dumps({"benchmark": "predictive foretells", "runs": len(table), "rows": rows}))


def _interval(table: pd.DataFrame, gain: str, metric: str, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the rank correlation, with settings resampled."""
    groups = [own for _, own in table.groupby("setting")]
    values = []
    for _ in range(N_RESAMPLES):
        drawn = pd.concat([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        values.append(drawn[gain].corr(drawn[metric], method="spearman"))
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_networks = commands.add_parser("networks", help="score every kind of network")
    of_networks.add_argument("--seeds", type=int, nargs="+", default=[1000, 2000, 3000])
    of_runs = commands.add_parser("foretells", help="correlate the scores of networks with those of generated cells")
    of_runs.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    of_runs.add_argument("--store", type=Path, default=Path("outputs/store"))
    arguments = parser.parse_args()
    if arguments.command == "networks":
        networks(arguments.seeds)
    else:
        foretells(arguments.runs, arguments.store)
