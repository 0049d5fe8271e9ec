"""Folders of finished runs whose cells are known: three types, each with genes of its own."""

import json
from pathlib import Path

import anndata
import numpy as np
from results_by_hand import make_results
from scipy.sparse import csr_matrix

from llm4grn.results import write_results

TYPES = ("B", "NK", "T")
OWN_GENES = 6
N_GENES = 60
SHARES = (0.2, 0.3, 0.5)
N_CELLS = {"train": 300, "validation": 120, "test": 120}


def types_at_random(n_cells: int, seed: int, shares=SHARES) -> np.ndarray:
    return np.random.default_rng(seed).choice(TYPES, size=n_cells, p=shares)


def cells_of(types: np.ndarray, seed: int, shift: float = 0.0) -> anndata.AnnData:
    """Cells of 20,000 counts; those of type i have much of genes 6 i to 6 i + 5. ``shift`` moves the last 20 genes."""
    rng = np.random.default_rng(seed)
    rates = np.full((len(types), N_GENES), 4.0)
    for i, name in enumerate(TYPES):
        rates[types == name, i * OWN_GENES : (i + 1) * OWN_GENES] = 40.0
    rates[:, -20:] += shift
    counts = rng.poisson(rates).astype(np.float32)
    cells = anndata.AnnData(csr_matrix(counts * (20_000 / counts.sum(axis=1, keepdims=True))))
    cells.var_names = [f"G{i:02d}" for i in range(N_GENES)]
    cells.obs_names = [f"cell{seed}_{i}" for i in range(len(types))]
    return cells


def write_data(store: Path, key: str = "data0", seed: int = 0, labels: bool = True) -> anndata.AnnData:
    """The real cells of all splits, as the data stage leaves them."""
    splits = np.repeat(list(N_CELLS), list(N_CELLS.values()))
    types = types_at_random(len(splits), seed)
    cells = cells_of(types, seed + 1)
    cells.obs["split"] = splits
    if labels:
        cells.obs["cell_type"] = types
    (store / "data" / key).mkdir(parents=True)
    cells.write_h5ad(store / "data" / key / "cells.h5ad")
    return cells


def write_stage1(
    store: Path, sets: list[anndata.AnnData], data: str = "data0", controller: str = "controller0"
) -> None:
    folder = store / "cells" / f"cells_of_{controller}"
    folder.mkdir(parents=True)
    for i, cells in enumerate(sets):
        cells.write_h5ad(folder / f"{i}.h5ad")
    stage = {"args": {"source": "stage1"}, "inputs": {"data": data, "generator": controller}}
    (folder / "stage.json").write_text(json.dumps(stage))


def write_run(
    folder: Path, test: anndata.AnnData, sets: list[anndata.AnnData], data: str = "data0", **labels: str | int
) -> Path:
    """The folder of a finished run, as far as its cells are concerned."""
    results = make_results(**labels)
    names = ("dataset", "kb", "inferer", "llm", "model", "graph", "seed")
    setting = {name: getattr(results[0], name) for name in names}
    stages = {"data": data, "controller": "controller0", "causal_gan": f"gan of {folder.name}"}
    write_results(results, folder, {"key": folder.name, "setting": setting, "stages": stages})
    test.write_h5ad(folder / "test.h5ad")
    for i, cells in enumerate(sets):
        cells.write_h5ad(folder / f"synthetic_{i}.h5ad")
    return folder


def split_of(cells: anndata.AnnData, name: str) -> anndata.AnnData:
    return cells[(cells.obs["split"] == name).to_numpy()].copy()
