"""A data set and a model so small that the whole line takes seconds."""

from pathlib import Path

import anndata
import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from scipy.sparse import csr_matrix

from llm4grn.cli.config import build_setting
from llm4grn.pipeline import Pipeline
from llm4grn.store import Store

CONF = Path(__file__).resolve().parents[1] / "conf"
TFS = ("GATA1", "GATA3", "SPI1", "IRF8", "CEBPA")
MODEL = [
    "model.controller.steps=60",
    "model.controller.batch_size=16",
    "model.controller.noise_dim=4",
    "model.controller.generator_layers=[8]",
    "model.controller.critic_layers=[8]",
    "model.causal_gan.steps=60",
    "model.causal_gan.batch_size=16",
    "model.causal_gan.critic_layers=[8]",
    "model.causal_gan.labeler_layers=[8]",
]


def write_counts(path: Path, n_cells: int = 140, n_genes: int = 30, seed: int = 0) -> Path:
    """Raw counts in which every gene follows one of five human TFs."""
    rng = np.random.default_rng(seed)
    activity = rng.gamma(1.0, 2.0, size=(n_cells, len(TFS)))
    rates = np.hstack([activity, activity[:, np.arange(n_genes - len(TFS)) % len(TFS)]])
    adata = anndata.AnnData(csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names = [*TFS, *(f"TARGET{i}" for i in range(n_genes - len(TFS)))]
    adata.obs_names = [f"cell{i}" for i in range(n_cells)]
    adata.write_h5ad(path)
    return path


def options(counts: Path, folder: Path) -> list[str]:
    """What to type so that ``train.py`` runs on it in seconds and writes below ``folder``."""
    return [
        "dataset=h5ad",
        f"dataset.path={counts}",
        "dataset.preprocessing.n_genes=30",
        "dataset.preprocessing.n_test=40",
        "dataset.preprocessing.n_validation=20",
        "graph.k=2",
        "evaluation.n_samples=2",
        "logger=csv",
        "trainer=cpu",
        "inferer=random",
        f"paths.outputs={folder}",
        f"paths.store={folder}/store",
        *MODEL,
    ]


def config(*overrides: str, name: str = "train") -> DictConfig:
    """The config that the script would get."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides))


def pipeline_of(counts: Path, folder: Path, *more: str) -> Pipeline:
    """The stages up to the graph, as ``infer_grn.py`` would have them."""
    of_training = "model.", "evaluation.", "logger=", "trainer="
    shared = [option for option in options(counts, folder) if not option.startswith(of_training)]
    setting = build_setting(config(*shared, *more, name="infer_grn"))
    return Pipeline(setting, Store(folder / "store"))
