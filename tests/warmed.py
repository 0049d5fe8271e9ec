"""What every start of a script does first, done once: imported by the server of ``tests/warm.py`` before it forks.

What is warmed is imports and what libraries keep for a process: compiled kernels, tables of gene symbols, parsers of
Hydra, fonts of matplotlib. Nothing of a run is, so a fork begins as a process of its own does. One thread only: a pool
of threads does not survive a fork.

``python tests/warmed.py`` only compiles the kernels, those in float64 too that tests use: begun before the tests, or
each of their processes would compile them for itself, half a minute each.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
#: What takes long to import, directly or through others.
IMPORTED = [
    "hydra.core.plugins",
    "llm4grn.cli.evaluate",
    "llm4grn.cli.infer_grn",
    "llm4grn.cli.train",
    "llm4grn.data.clusters",
    "llm4grn.evaluation.cells.plots",
    "llm4grn.evaluation.graphs.recovery",
    "llm4grn.evaluation.report",
    "llm4grn.gan.api",
    "llm4grn.inference.boosting.engine",
    "llm4grn.inference.random_graph",
    "llm4grn.knowledge.curated",
    "matplotlib.backends.backend_agg",
    "networkx",
    "omegaconf._impl",
    "scanpy",
    "sklearn.ensemble",
    "sklearn.manifold",
]
CONF = Path(__file__).resolve().parents[1] / "conf"


def train_targets(n_targets: int = 2, n_tfs: int = 2, double: bool = False) -> None:
    """Compile or load the kernels of the target generators: forward and backward, in training and out of it."""
    import torch

    from llm4grn.gan.target_generators import TargetGenerators
    from llm4grn.grn import CausalGraph

    tfs, targets = ([f"{kind}{i}" for i in range(n)] for kind, n in (("tf", n_tfs), ("target", n_targets)))
    graph = CausalGraph((*tfs, *targets), {target: tuple(tfs) for target in targets})
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    with torch.random.fork_rng():
        (group,) = TargetGenerators(graph, 1, 2, 1).groups
        noise = torch.zeros(n_targets, 1, 8)
        group(torch.rand(n_tfs, 8, requires_grad=True), noise, 8).sum().backward()
        group.eval()(torch.rand(n_tfs, 8), noise, 8)
    torch.set_default_dtype(dtype)


def boost() -> None:
    """Compile or load the kernels of GRNBoost2."""
    import numpy as np
    from scipy.sparse import csc_matrix

    from llm4grn.inference.boosting.engine import boosted_importances

    cells = np.random.default_rng(0).poisson(2.0, size=(40, 3)).astype(np.float32)
    boosted_importances(csc_matrix(cells[:, :2]), csc_matrix(cells[:, 2:]), np.array([-1]), 0, 1)


def score() -> None:
    """Compile or load the kernels of the forest and the t-SNE behind the metrics."""
    import numpy as np

    from llm4grn.metrics.functional import milisi, rf_auroc

    cells = np.random.default_rng(0).poisson(2.0, size=(2, 60, 5)).astype(np.float64)
    rf_auroc(*cells, seed=0, n_trees=2)
    milisi(*cells, seed=0)


def kernels() -> None:
    """Compile or load every kernel of numba that a run uses."""
    train_targets()
    boost()
    score()


def parse() -> None:
    """Compose each command's options once: parsers learn their grammar as they go."""
    from hydra import compose, initialize_config_dir

    for name in "train", "infer_grn", "evaluate":
        with initialize_config_dir(str(CONF), version_base="1.3"):
            compose(name, return_hydra_config=True, overrides=["paths.outputs=/a-b_c/1.5"])


def know_symbols() -> None:
    """Read the tables of gene symbols."""
    from llm4grn.data.symbols import share_known

    share_known(["unknown"])


def draw() -> None:
    """Find and read the fonts of figures."""
    from llm4grn.report.figures import panels

    figure, axes = panels(1, 1, width=1, height=1)
    axes[0, 0].set_title("title", fontsize=8)
    figure.savefig(io.BytesIO(), format="png")


def write_and_read() -> None:
    """Write and read an h5ad."""
    import anndata
    import numpy as np
    from scipy.sparse import csr_matrix

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        anndata.AnnData(csr_matrix(np.eye(2, dtype=np.float32))).write_h5ad(path)
        anndata.read_h5ad(path)


if __name__ == "__main__":
    sys.path.insert(0, str(CONF.parent))
    kernels()
    train_targets(double=True)
else:
    for module in IMPORTED:
        importlib.import_module(module)
    for warm in kernels, parse, know_symbols, draw, write_and_read:
        warm()
