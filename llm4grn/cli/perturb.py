"""Intervene on genes of a finished run: the same generated cells before and after, fold changes per gene, figures."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from llm4grn.cli.main import run
from llm4grn.cli.program import command_text, plain
from llm4grn.errors import UserError
from llm4grn.runtime.h5ad import write_h5ad
from llm4grn.store import atomic_write


def perturb(cfg: DictConfig) -> None:
    """Apply the interventions of ``cfg.do``, and write cells, fold changes and figures below the folder of the run."""
    for name in "n_cells", "seed":
        if not isinstance(cfg[name], int) or isinstance(cfg[name], bool) or cfg[name] < (name == "n_cells"):
            raise UserError(f"{name}={cfg[name]}: expected a whole number")
    if OmegaConf.is_missing(cfg, "run"):
        raise UserError(f"run is not set; add run=FOLDER, a folder that {command_text('train')} printed")
    if cfg.do is not None and not OmegaConf.is_dict(cfg.do):
        raise UserError(f'do={cfg.do}: expected genes and amounts, for instance do="{{SPI1: 0, GATA3: 3.2x}}"')

    from llm4grn.evaluation.cells import perturbation
    from llm4grn.evaluation.cells.plots import joint_tsne
    from llm4grn.gan.api import load_trained
    from llm4grn.gan.interventions import parse_interventions

    model, graph = load_trained(Path(cfg.run))
    interventions = parse_interventions(plain(cfg.do) if cfg.do else {}, graph.genes)
    do = ", ".join(map(str, interventions))
    before, after = (cells.numpy() for cells in model.do(interventions, cfg.n_cells, cfg.seed))

    folder = Path(cfg.run) / "perturbations" / f"{do.replace(', ', '_')}_seed{cfg.seed}"
    table = perturbation.fold_changes(before, after, graph, [intervention.gene for intervention in interventions])
    perturbation.write_table(table, folder / "fold_changes.tsv")
    with atomic_write(folder / "cells.h5ad") as path:
        write_h5ad(perturbation.paired_cells(before, after, graph.genes, do), path)
    perturbation.plot_fold_changes(table, folder / "fold_changes.png", f"do({do})")
    joint_tsne(before, {f"after do({do})": after}, folder / "tsne.png", cfg.seed, base="before")
    print(f"\ndo({do}) in {cfg.n_cells} cells of {cfg.run}\n{perturbation.summary(table)}\n")
    for name in "fold_changes.tsv", "fold_changes.png", "tsne.png", "cells.h5ad":
        print(f"{name:17} {folder / name}")


def main() -> None:
    """Run ``python perturb.py``."""
    run(perturb, "perturb")
