"""Interventions on root TFs of a three-layer simulated network: which genes respond, and in the true direction?

    python -m benchmarks.interventions                       trains a generator first: some minutes
    python -m benchmarks.interventions run=outputs/...       an existing run, with the options in train() below

The whole true network of ``dataset=simulated`` is imposed, including edges between TFs. Each root TF is then silenced
and tripled in the same cells. Before the scaling to the library size, the structure guarantees that only its
descendants change. Whether activated targets rise with their regulator and repressed ones fall, the generator has to
learn from the cells; this counts targets that a single path from a single root reaches. The last line is JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from llm4grn.data.nonlinear import NonLinear
from llm4grn.evaluation.cells.perturbation import fold_changes
from llm4grn.gan.api import load_trained
from llm4grn.gan.interventions import parse_interventions
from llm4grn.grn.causal_graph import CausalGraph

ROOT = Path(__file__).resolve().parents[1]
N_CELLS = 2048
DOSES = {"silenced": 0, "tripled": "3x"}


def train(outputs: str) -> Path:
    """Train a run with the true network imposed, and return its folder."""
    setting = ["dataset=simulated", "inferer=truth", "graph.k=12", "graph.tf_k=12", "evaluation.n_samples=1"]
    command = [sys.executable, "train.py", *setting, "logger=csv", f"paths.outputs={outputs}"]
    subprocess.run([*command, f"paths.store={outputs}/store"], cwd=ROOT, check=True)
    (run,) = Path(outputs).glob("simulated_*/results.json")
    return run.parent


def responses(run: Path) -> tuple[pd.DataFrame, CausalGraph]:
    """Return the fold changes of every gene, for each root TF and dose."""
    gan, graph = load_trained(run)
    tables = []
    for tf in graph.tf_names:
        for dose, amount in DOSES.items():
            cells = gan.do(parse_interventions({tf: amount}, graph.genes), N_CELLS, seed=0)
            table = fold_changes(*(half.numpy() for half in cells), graph, [tf])
            tables.append(table.assign(tf=tf, dose=dose))
    return pd.concat(tables, ignore_index=True), graph


def paths(edges: pd.DataFrame, root: str) -> dict[str, list[int]]:
    """Return the signs of all directed paths from ``root``, by the gene they end in."""
    out = {tf: list(zip(own["target"], own["weight"], strict=True)) for tf, own in edges.groupby("TF")}
    found: dict[str, list[int]] = {}
    front = [(root, 1)]
    while front:
        gene, sign = front.pop()
        for target, weight in out.get(gene, []):
            step = sign * (1 if weight > 0 else -1)
            found.setdefault(target, []).append(step)
            front.append((target, step))
    return found


def directions(table: pd.DataFrame, edges: pd.DataFrame) -> pd.DataFrame:
    """Return, for each target that a single path from the TF reaches, whether its response has the true sign."""
    rows = []
    for (tf, dose), own in table.groupby(["tf", "dose"]):
        change = own.set_index("gene")["effect"]
        for gene, signs in paths(edges, tf).items():
            if len(signs) == 1 and gene in change.index and change[gene] != 0:
                expected = signs[0] * (-1 if dose == "silenced" else 1)
                direct = bool(((edges["TF"] == tf) & (edges["target"] == gene)).any())
                rows.append((dose, "target" if direct else "descendant", np.sign(change[gene]) == expected))
    return pd.DataFrame(rows, columns=["dose", "role", "true_sign"])


def main(run: str = "") -> None:
    with tempfile.TemporaryDirectory() as outputs:
        table, graph = responses(Path(run) if run else train(outputs))
    edges = NonLinear().true_graph()
    changed = table.assign(changed=table["share_changed"] > 0)
    counts = changed.groupby(["dose", "role"])["changed"].agg(["sum", "size"])
    counts["mean |log2 fold change|"] = table["log2_fold_change"].abs().groupby([table["dose"], table["role"]]).mean()
    signs = directions(table, edges).groupby(["dose", "role"])["true_sign"].agg(["mean", "size"])
    print(f"{len(graph.tf_names)} root TFs, layers of {[len(layer) for layer in graph.layers()]} genes below them\n")
    print(counts.rename(columns={"sum": "changed", "size": "of"}).to_string(float_format="{:.3f}".format))
    print("\nin the true direction, of genes that one path reaches")
    print(signs.rename(columns={"mean": "share", "size": "of"}).to_string(float_format="{:.3f}".format))
    unreached = changed[changed["role"] == "unreached"]
    summary = {
        "benchmark": "interventions",
        "layers": [len(layer) for layer in graph.layers()],
        "interventions": len(graph.tf_names) * len(DOSES),
        "unreached_genes_changed": int(unreached["changed"].sum()),
        "unreached_genes": len(unreached),
        "changed": {f"{dose}/{role}": int(row["sum"]) for (dose, role), row in counts.iterrows()},
        "of": {f"{dose}/{role}": int(row["size"]) for (dose, role), row in counts.iterrows()},
        "true_sign": {f"{dose}/{role}": round(row["mean"], 4) for (dose, role), row in signs.iterrows()},
    }
    print(json.dumps(summary))
    if summary["unreached_genes_changed"]:
        sys.exit("a gene changed that no path reaches")


if __name__ == "__main__":
    main(**dict(word.split("=", 1) for word in sys.argv[1:]))
