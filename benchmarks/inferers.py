"""Which inferer recovers a known network? All run on the same simulated cells with the true TFs.

    python -m benchmarks.inferers                      dataset=simulated: non-linear, hubs, cell types, dropout
    python -m benchmarks.inferers --linear             dataset=linear_uniform
    python -m benchmarks.inferers --seeds 0 1 2        means over three networks

It prints one line per inferer: AUROC, AUPRC and early precision relative to random, the p-value of the AUPRC, and
seconds. The scores are those of ``llm4grn.evaluation.graphs.reference``. RegDiffusion is included if it is installed.
The last line is JSON; the exit status is 1 if an inferer that reads expression does not beat random networks of the
same degrees.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time

import anndata

from llm4grn.data.nonlinear import NonLinear
from llm4grn.data.preprocess import Preprocessing, split
from llm4grn.data.simulated import LinearUniform, SimulatedSource
from llm4grn.evaluation.graphs.reference import score_against
from llm4grn.inference.base import Inferer
from llm4grn.inference.correlation import Correlation
from llm4grn.inference.genie3 import GENIE3
from llm4grn.inference.grnboost2 import GRNBoost2
from llm4grn.inference.pidc import PIDC
from llm4grn.inference.random_graph import RandomGRN
from llm4grn.inference.regdiffusion import RegDiffusion

COLUMNS = {"AUROC": "AUROC", "AUPRC ratio": "AUPRC ratio", "early precision ratio": "early p. ratio"}
PREPROCESSING = Preprocessing(min_cells=50, n_test=500, n_validation=500)


def inferers(n_trees: int) -> dict[str, Inferer]:
    """Return the installed inferers, by name."""
    found: dict[str, Inferer] = {
        "grnboost2": GRNBoost2(),
        f"genie3, {n_trees} trees": GENIE3(n_trees=n_trees),
        "pidc": PIDC(),
        "correlation, pearson": Correlation("pearson"),
        "correlation, spearman": Correlation("spearman"),
    }
    if importlib.util.find_spec("regdiffusion"):
        found["regdiffusion"] = RegDiffusion()
    return found | {"random": RandomGRN()}


def measure(inferer: Inferer, cells: anndata.AnnData, source: SimulatedSource, seed: int) -> dict[str, float]:
    """Return scores and seconds of one inferer on one network."""
    truth, genes = source.true_graph(), list(cells.var_names)
    tf_names = sorted(set(truth["TF"]) & set(genes))
    begin = time.perf_counter()
    grn = inferer.infer(cells, tf_names, seed)
    seconds = time.perf_counter() - begin
    scores = score_against(grn, truth, genes, tf_names, name="truth", seed=seed)
    return {**scores.values, "p": scores.p_values["AUPRC"], "seconds": seconds}


def main(sources: list[SimulatedSource], n_trees: int) -> None:
    results: dict[str, list[dict[str, float]]] = {}
    for source in sources:
        cells = split(PREPROCESSING.run(source.load(), source.seed), "train")
        print(f"{source}\n{cells.n_obs} cells to infer from, {len(source.true_graph())} true edges", flush=True)
        for name, inferer in inferers(n_trees).items():
            results.setdefault(name, []).append(measure(inferer, cells, source, source.seed))
    print(f"\n{'':26}" + "".join(f"{title:>16}" for title in COLUMNS.values()) + f"{'largest p':>12}{'seconds':>10}")
    table = {}
    for name, runs in results.items():
        row = {column: round(statistics.fmean(run[column] for run in runs), 4) for column in COLUMNS}
        row["largest_p"] = max(run["p"] for run in runs)
        row["seconds"] = round(statistics.fmean(run["seconds"] for run in runs), 2)
        table[name] = row
        values = "".join(f"{row[column]:>16.3f}" for column in COLUMNS)
        print(f"{name:26}{values}{row['largest_p']:>12.3f}{row['seconds']:>10.2f}")
    seeds = [source.seed for source in sources]
    print(json.dumps({"benchmark": "inferers", "data": type(sources[0]).__name__, "seeds": seeds, "inferers": table}))
    if any(row["largest_p"] > 0.05 for name, row in table.items() if name != "random"):
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--linear", action="store_true", help="the linear data of the paper")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one network for each")
    parser.add_argument("--trees", type=int, default=20, help="of GENIE3, per target")
    arguments = parser.parse_args()
    kind = LinearUniform if arguments.linear else NonLinear
    main([kind(seed=seed) for seed in arguments.seeds], arguments.trees)
