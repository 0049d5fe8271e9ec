"""Training of both stages from AnnData into a folder, and generation of AnnData from such a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata
import torch
import yaml
from pytorch_lightning.loggers import Logger
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from llm4grn.errors import UserError
from llm4grn.gan.causal_controller import CausalController
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import (
    AdversarialHyperparameters,
    CausalGANHyperparameters,
    ControllerHyperparameters,
)
from llm4grn.gan.networks import CellGenerator
from llm4grn.gan.training import fit
from llm4grn.gan.training_cells import Cells, dense
from llm4grn.grn import CausalGraph
from llm4grn.runtime.threads import fix_torch_threads
from llm4grn.store import atomic_write

GENERATOR = "generator.pt"


def train_controller(
    train: anndata.AnnData | Cells,
    hyperparameters: ControllerHyperparameters,
    *,
    validation: anndata.AnnData | None = None,
    library_size: float,
    seed: int,
    folder: Path,
    trainer: Mapping[str, Any],
    loggers: Sequence[Logger],
) -> None:
    """Train stage 1, a :class:`CausalController`, and save its generator and the tables of :func:`fit` in ``folder``.

    Parameters
    ----------
    train, validation
        Cells of shape ``(n_cells, n_genes)`` with equal library size. Validation cells are used if the hyperparameters
        set ``validate_every``.
    hyperparameters
        Hyperparameters of the stage.
    library_size
        Total count of every real and generated cell.
    seed
        Seed for weights, batches and noise.
    folder
        Output folder.
    trainer, loggers
        See :func:`fit`.

    Raises
    ------
    UserError
        See :func:`fit`.
    """
    fix_torch_threads()
    module = CausalController(_cells(train), hyperparameters, library_size, seed)
    fit(module, folder, "controller", trainer, loggers, _validation(hyperparameters, validation))
    _save(module.generator, folder)


def train_causal_gan(
    train: anndata.AnnData | Cells,
    graph: CausalGraph,
    controller: Path,
    controller_hyperparameters: ControllerHyperparameters,
    hyperparameters: CausalGANHyperparameters,
    *,
    validation: anndata.AnnData | None = None,
    library_size: float,
    seed: int,
    folder: Path,
    trainer: Mapping[str, Any],
    loggers: Sequence[Logger],
) -> None:
    """Train stage 2, a :class:`CausalGAN`, and save its generator and the tables of :func:`fit` in ``folder``.

    Parameters
    ----------
    graph
        The imposed graph, with all genes in the order of the cells.
    controller, controller_hyperparameters
        Output folder and hyperparameters of :func:`train_controller`.
    train, hyperparameters, validation, library_size, seed, folder, trainer, loggers
        See :func:`train_controller`.

    Raises
    ------
    UserError
        See :func:`fit`.
    """
    fix_torch_threads()
    roots = _cell_generator(controller_hyperparameters, len(graph.genes))
    _load(roots, controller)
    module = CausalGAN(_cells(train), graph, roots, hyperparameters, library_size, seed)
    fit(module, folder, "causal_gan", trainer, loggers, _validation(hyperparameters, validation))
    _save(module.generator, folder)


def controller_cells(
    folder: Path,
    hyperparameters: ControllerHyperparameters,
    genes: Sequence[str],
    library_size: float,
    n_cells: int,
    seeds: Sequence[int],
) -> Iterator[anndata.AnnData]:
    """Generate one data set of ``n_cells`` per seed from the controller in ``folder``."""
    fix_torch_threads()
    module = CausalController(torch.empty(0, len(genes)), hyperparameters, library_size, seed=0)
    _load(module.generator, folder)
    return (as_adata(module.generate(n_cells, seed), genes) for seed in seeds)


def causal_gan_cells(
    folder: Path,
    graph: CausalGraph,
    controller_hyperparameters: ControllerHyperparameters,
    hyperparameters: CausalGANHyperparameters,
    library_size: float,
    n_cells: int,
    seeds: Sequence[int],
) -> Iterator[anndata.AnnData]:
    """Generate one data set of ``n_cells`` per seed from the causal GAN in ``folder``."""
    module = load_causal_gan(folder, graph, controller_hyperparameters, hyperparameters, library_size)
    return (as_adata(module.generate(n_cells, seed), graph.genes) for seed in seeds)


def load_causal_gan(
    folder: Path,
    graph: CausalGraph,
    controller_hyperparameters: ControllerHyperparameters,
    hyperparameters: CausalGANHyperparameters,
    library_size: float,
) -> CausalGAN:
    """Load the generator in ``folder`` into a causal GAN, whose critic and labelers stay untrained."""
    fix_torch_threads()
    roots = _cell_generator(controller_hyperparameters, len(graph.genes))
    module = CausalGAN(torch.empty(0, len(graph.genes)), graph, roots, hyperparameters, library_size, seed=0)
    _load(module.generator, folder)
    return module


def _cell_generator(hyperparameters: ControllerHyperparameters, n_genes: int) -> CellGenerator:
    observed = hyperparameters.observation == "poisson"
    return CellGenerator(hyperparameters.noise_dim, hyperparameters.generator_layers, n_genes, observed)


def _validation(hyperparameters: AdversarialHyperparameters, cells: anndata.AnnData | None) -> Tensor | None:
    return dense(cells) if hyperparameters.validate_every and cells is not None else None


def _cells(train: anndata.AnnData | Cells) -> Cells | Tensor:
    return train if isinstance(train, Cells) else dense(train)


def as_adata(cells: Tensor, genes: Sequence[str]) -> anndata.AnnData:
    """Return generated cells of shape (n_cells, n_genes) as an AnnData in CSR."""
    adata = anndata.AnnData(csr_matrix(cells.numpy()))
    adata.var_names = list(genes)
    adata.obs_names = [f"synthetic-{i}" for i in range(len(cells))]
    return adata


def _save(generator: nn.Module, folder: Path) -> None:
    with atomic_write(folder / GENERATOR) as path:
        torch.save({name: tensor.cpu() for name, tensor in generator.state_dict().items()}, path)


def _load(generator: nn.Module, folder: Path) -> None:
    generator.load_state_dict(torch.load(folder / GENERATOR, weights_only=True, map_location="cpu"))


def run_config(model: Mapping[str, Any], library_size: float) -> dict[str, Any]:
    """Return as much of a run's configuration as :func:`load_trained` reads.

    Parameters
    ----------
    model
        Hyperparameters of both stages, as plain values.
    library_size
        Of every generated cell.
    """
    return {"model": dict(model), "dataset": {"preprocessing": {"library_size": library_size}}}


def save_trained(gan: CausalGAN, graph: CausalGraph, config: Mapping[str, Any], folder: Path) -> Path:
    """Write the files that :func:`load_trained` reads; ``config`` as :func:`run_config` makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    graph.to_json(folder / "graph.json")
    with atomic_write(folder / "config.yaml") as path:
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    _save(gan.generator, folder)
    return folder


def read_config(run: Path) -> dict[str, Any]:
    """Return the configuration of a run, as plain values."""
    return yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))


def load_trained(run: Path) -> tuple[CausalGAN, CausalGraph]:
    """Load the causal GAN of a finished run, ready for ``generate`` and ``do``, and its imposed graph.

    Parameters
    ----------
    run
        The run's folder with ``config.yaml``, ``graph.json`` and ``generator.pt``. Only numbers are read from the
        configuration; nothing that it names is executed.

    Raises
    ------
    UserError
        If the folder is not that of a finished run, or its files do not belong together.
    """
    run = Path(run)
    for name in "config.yaml", "graph.json", GENERATOR:
        if not (run / name).is_file():
            raise UserError(f"run={run}: no {name} there; give the folder that python train.py printed")
    try:
        config = read_config(run)
        model, library_size = config["model"], float(config["dataset"]["preprocessing"]["library_size"])
        controller = ControllerHyperparameters(**_fields(model["controller"]))
        causal_gan = CausalGANHyperparameters(**_fields(model["causal_gan"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run / 'config.yaml'}: not the configuration of a run ({error})") from error
    graph = CausalGraph.from_json(run / "graph.json")
    try:
        return load_causal_gan(run, graph, controller, causal_gan, library_size), graph
    except (RuntimeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{run / GENERATOR}: not the generator of this configuration and graph ({reason})") from error


def _fields(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name != "_target_"}
