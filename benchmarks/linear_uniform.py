"""Simulated data of the paper's Appendix C: is the true graph recovered, and how does a model with it score?

    python -m benchmarks.linear_uniform                          GRNBoost2 against the truth of five networks; seconds
    python -m benchmarks.linear_uniform --train                  and the scores: two seeds, about five minutes each
    python -m benchmarks.linear_uniform --train --seeds 1000 -- model.causal_gan.steps=100       options of train.py

The trainings are those of train.py with dataset=linear_uniform, for GRNBoost2 and for a random graph; finished ones are
read from the store. ``MODEL`` is model=small with more steps, which are cheaper with 100 genes and useful with 4,000
training cells instead of pbmc3k's 1,700; it was not tuned. The last line is JSON; the exit status is 1 if GRNBoost2
recovers a true graph less than twice as well as chance, or not better than random networks of the same degrees.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from llm4grn.data.preprocess import Preprocessing, split
from llm4grn.data.simulated import LinearUniform
from llm4grn.evaluation.graphs.reference import ReferenceScores, score_against
from llm4grn.evaluation.scores.comparison import load_runs
from llm4grn.evaluation.scores.paper_numbers import paper_rows
from llm4grn.evaluation.scores.summary import Row, summarise
from llm4grn.inference.grnboost2 import GRNBoost2
from llm4grn.metrics.registry import METRICS

ROOT = Path(__file__).resolve().parents[1]
PREPROCESSING = Preprocessing(n_genes=100, min_cells=500, n_test=500, n_validation=500)
MODEL = ("model=small", "model.controller.steps=4000", "model.causal_gan.steps=4000")
INFERERS = ("grnboost2", "random")
LABELS = {"control": "Control", "stage1": "Stage 1", "grnboost2": "GRNBoost2", "random": "Random graph"}


def recover(network: int, n_cells: int = 5000, preprocessing: Preprocessing = PREPROCESSING) -> ReferenceScores:
    """Score GRNBoost2, given the causes, against the true graph of one simulation."""
    source = LinearUniform(n_cells=n_cells, seed=network)
    cells, truth = split(preprocessing.run(source.load(), network), "train"), source.true_graph()
    genes = list(cells.var_names)
    tfs = sorted(set(truth["TF"]) & set(genes))
    return score_against(GRNBoost2().infer(cells, tfs, network), truth, genes, tfs, name="truth", seed=network)


def train(inferer: str, seed: int, options: Sequence[str]) -> Path:
    """Run train.py, which logs to stderr as usual, and return its folder."""
    command = [sys.executable, str(ROOT / "train.py"), "dataset=linear_uniform", "kb=truth", f"inferer={inferer}"]
    command += [f"seed={seed}", "logger=csv", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command[1:])}")
    return Path(re.findall(r"^results\.csv\s+(.+)$", done.stdout, flags=re.MULTILINE)[-1]).parent


def row_name(row: Row) -> str:
    return row.inferer if row.source == "run" else row.source


def table(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, str]]]:
    """Return our value and the paper's mean ± standard deviation, by row and metric of the paper."""
    paper = {row.inferer or row.source: row.printed for row in paper_rows(["linear_uniform"])}
    metrics = [metric for metric in METRICS if metric in paper["control"]]
    found: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        for metric in metrics:
            ours = METRICS[metric].format(row.mean[metric])
            if metric in row.std:
                ours += f" ± {METRICS[metric].format(row.std[metric])}"
            printed = paper.get(row_name(row), {}).get(metric)
            entry = {"ours": ours, "paper": " ± ".join(printed) if printed else "–"}
            found.setdefault(row_name(row), {})[metric] = entry
    return {name: found[name] for name in LABELS if name in found}


def markdown(entries: dict[str, dict[str, dict[str, str]]]) -> str:
    metrics = list(entries["control"])
    lines = [
        "| | | " + " | ".join(METRICS[name].label for name in metrics) + " |",
        "| --- " * 2 + "| ---: " * len(metrics) + "|",
    ]
    for name, of in entries.items():
        for whose in ("ours", "paper"):
            label = LABELS[name] if whose == "ours" else ""
            cells = [of.get(metric, {}).get(whose, "–") for metric in metrics]
            lines.append(f"| {label} | {whose} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def print_recovery(networks: Sequence[int], scores: Sequence[ReferenceScores]) -> None:
    print(f"{'network':>8}{'AUROC':>9}{'AUPRC':>9}{'ratio':>8}{'by degrees':>12}{'early p. ratio':>16}{'p':>9}")
    for network, each in zip(networks, scores, strict=True):
        of, by_degrees, p = each.values, each.by_degrees["AUPRC ratio"], each.p_values["AUPRC"]
        print(
            f"{network:>8}{of['AUROC']:>9.3f}{of['AUPRC']:>9.3f}{of['AUPRC ratio']:>8.2f}{by_degrees:>12.2f}"
            f"{of['early precision ratio']:>16.2f}{p:>9.3f}"
        )


def main(networks: Sequence[int], seeds: Sequence[int], options: Sequence[str]) -> None:
    scores = [recover(network) for network in networks]
    print_recovery(networks, scores)
    ratios = [each.values["AUPRC ratio"] for each in scores]
    summary = {
        "benchmark": "linear_uniform",
        "networks": list(networks),
        "auprc_ratio": [round(ratio, 3) for ratio in ratios],
        "mean_auprc_ratio": round(statistics.fmean(ratios), 3),
        "largest_p": max(each.p_values["AUPRC"] for each in scores),
    }
    if seeds:
        replaced = {option.partition("=")[0] for option in options}
        options = [*(option for option in MODEL if option.partition("=")[0] not in replaced), *options]
        folders = [train(inferer, seed, options) for seed in seeds for inferer in INFERERS]
        entries = table(summarise(load_runs(folders)[0]))
        print(f"\nseeds {', '.join(map(str, seeds))}; {' '.join(options)}\n\n{markdown(entries)}")
        summary |= {"seeds": list(seeds), "options": options, "table": entries}
    print(json.dumps(summary, ensure_ascii=False))
    if min(ratios) < 2 or summary["largest_p"] > 0.05:
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds of the simulation")
    parser.add_argument("--train", action="store_true", help="and train, for the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 2000], help="of the trainings")
    parser.add_argument("options", nargs="*", help="of train.py, after --")
    arguments = parser.parse_args()
    main(arguments.networks, arguments.seeds if arguments.train else [], arguments.options)
