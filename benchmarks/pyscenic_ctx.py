"""Claim: ``pyscenic ctx`` reads what ``llm4grn adjacencies`` writes.

    python -m benchmarks.pyscenic_ctx PYSCENIC      its program, in an environment of its own (Python 3.11, numpy 1.23)

800 cells and 1,500 genes of pbmc3k. The database of rankings is made in the real format: for each TF a motif that ranks
40 targets of its adjacencies first, and 60 motifs that rank genes at random. Printed is how many TFs are found by their
motif, and how many of the random motifs are found.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.feather

from llm4grn.data.sources import PBMC3k

N_CELLS, N_GENES, N_TARGETS, N_RANDOM = 800, 1500, 40, 60
MOTIF = "#motif_id", "gene_name", "motif_similarity_qvalue", "orthologous_identity", "description"


def main(pyscenic: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adata = PBMC3k().load()
        genes = np.sort(np.argsort(-adata.X.getnnz(axis=0), kind="stable")[:N_GENES])
        adata[:N_CELLS, genes].to_df().to_csv(folder / "cells.csv")
        adjacencies = [sys.executable, "-m", "llm4grn", "adjacencies", "cells.csv", "human", "-o", "adjacencies.tsv"]
        subprocess.run([*adjacencies, "--seed", "0"], cwd=folder, check=True)
        write_database(folder, pd.read_csv(folder / "adjacencies.tsv", sep="\t"), list(adata.var_names[genes]))
        ctx = [pyscenic, "ctx", "adjacencies.tsv", "made.genes_vs_motifs.rankings.feather"]
        options = {"annotations_fname": "motifs.tbl", "expression_mtx_fname": "cells.csv", "output": "regulons.csv"}
        options |= {"num_workers": "1", "rank_threshold": str(N_GENES - 100), "mode": "custom_multiprocessing"}
        subprocess.run([*ctx, *(f"--{key}={value}" for key, value in options.items())], cwd=folder, check=True)
        motifs = pd.read_csv(folder / "regulons.csv", skiprows=3, header=None)[1]
        n_tfs = len(pd.read_csv(folder / "motifs.tbl", sep="\t"))
    found = set(motifs)
    n_random = sum(motif.startswith("random") for motif in found)
    print(f"{len(found) - n_random} of {n_tfs} TFs found by their motif, {n_random} of {N_RANDOM} random motifs")


def write_database(folder: Path, adjacencies: pd.DataFrame, genes: list[str]) -> None:
    """Write rankings and motifs as cisTarget's databases have them."""
    rng = np.random.default_rng(0)
    orders = {f"random_{i}": rng.permutation(genes) for i in range(N_RANDOM)}
    tfs = list(adjacencies["TF"].unique())
    for tf in tfs:
        first = adjacencies[adjacencies["TF"] == tf].nlargest(N_TARGETS, "importance")["target"].to_numpy()
        orders[f"motif_{tf}"] = np.concatenate(
            [rng.permutation(first), rng.permutation(sorted(set(genes) - set(first)))]
        )
    ranks = pd.DataFrame({motif: pd.Series(np.arange(len(genes)), order) for motif, order in orders.items()}).T[genes]
    table = ranks.astype(np.int16).assign(motifs=ranks.index)
    path = folder / "made.genes_vs_motifs.rankings.feather"
    pyarrow.feather.write_feather(pyarrow.Table.from_pandas(table, preserve_index=False), str(path))
    rows = [(f"motif_{tf}", tf, 0.0, 1.0, "gene is directly annotated") for tf in tfs]
    pd.DataFrame(rows, columns=list(MOTIF)).to_csv(folder / "motifs.tbl", sep="\t", index=False)


if __name__ == "__main__":
    main(sys.argv[1])
