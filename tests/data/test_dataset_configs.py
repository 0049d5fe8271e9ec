"""Every YAML of conf/dataset composes and builds its classes."""

from pathlib import Path

import hydra.utils
import pytest
from omegaconf import OmegaConf

import llm4grn.cli.config  # noqa: F401 (registers resolvers)
from llm4grn.data.preprocess import Preprocessing

FOLDER = Path(__file__).parents[2] / "conf" / "dataset"
NEEDS_PATH = {"file", "h5ad", "mtx"}
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def compose(name):
    root = OmegaConf.create({"dataset": OmegaConf.load(FOLDER / f"{name}.yaml"), "paths": {"data": "somewhere"}})
    if name in NEEDS_PATH:
        root.dataset.path = "a/path"
    return root.dataset


def test_all_are_there():
    assert {"pbmc3k", "pbmc68k_reduced", "h5ad", "mtx", "pbmc", "pbmc_ctl", "bone_marrow"} <= set(NAMES)


@pytest.mark.parametrize(
    "name", ["pbmc3k", "pbmc68k_reduced", "file", "h5ad", "mtx", "pbmc", "pbmc_ctl", "bone_marrow"]
)
def test_composes_and_instantiates(name):
    config = compose(name)
    assert config.name == ("path" if name == "file" else name)  # called like the file
    assert config.organism in {"human", "mouse"}
    assert bool(config.context) == (name not in NEEDS_PATH)
    source = hydra.utils.instantiate(config.source)
    assert all(callable(getattr(source, method)) for method in ("prepare", "fingerprint", "load"))
    assert isinstance(hydra.utils.instantiate(config.preprocessing), Preprocessing)


@pytest.mark.parametrize("name", sorted(NEEDS_PATH))
def test_path_of_the_user_reaches_the_source(name):
    assert hydra.utils.instantiate(compose(name).source).path == "a/path"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_genes", "n_cells"), [("pbmc3k", 1000, 2700), ("pbmc68k_reduced", 692, 700)])
def test_shipped_data_keep_all_genes_and_cells_at_the_seeds_of_the_paper(name, n_genes, n_cells, caplog):
    config = compose(name)
    adata = hydra.utils.instantiate(config.source).load()
    for seed in (1000, 2000, 1, 2):
        result = hydra.utils.instantiate(config.preprocessing).run(adata, seed)
        assert result.shape == (n_cells, n_genes)
    assert not caplog.records
