"""The causal GAN as one object that trains, saves, generates cells and applies interventions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.api.cells import SplitCells
from llm4grn.api.options import model_named
from llm4grn.errors import UserError
from llm4grn.grn import CausalGraph
from llm4grn.pipeline import describe
from llm4grn.runtime.quiet import quiet_lightning
from llm4grn.runtime.seeding import derive_seed
from llm4grn.store import Stage, Store

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from llm4grn.gan.causal_gan import CausalGAN


class CausalGenerator:
    """Generates cells whose target genes are computed from their regulators in the imposed graph (paper, section 3).

    Create it with :meth:`fit` or :meth:`load`.

    Attributes
    ----------
    graph
        The imposed graph.
    config
        Hyperparameters and library size, as plain values.
    """

    def __init__(self, gan: CausalGAN, graph: CausalGraph, config: Mapping[str, Any]) -> None:
        self._gan = gan
        self.graph = graph
        self.config = config

    @classmethod
    def fit(
        cls,
        cells: SplitCells,
        graph: CausalGraph,
        *,
        model: str = "small",
        controller: Mapping[str, Any] | None = None,
        causal_gan: Mapping[str, Any] | None = None,
        store: str | Path | None = None,
        accelerator: str = "auto",
        seed: int = 1000,
    ) -> CausalGenerator:
        """Train the causal controller (stage 1), then the causal GAN on top of it (stage 2), each with a progress bar.

        Parameters
        ----------
        cells
            Cells of :func:`preprocess`; ``cells.train`` is trained on.
        graph
            Graph to impose, over the genes of the cells: ``grn.top(10)``.
        model
            Name of the hyperparameters in ``conf/model``: ``small`` (minutes), ``paper``, ``groundgan``.
        controller, causal_gan
            Hyperparameters of stage 1 and stage 2 that differ from the YAML, for instance ``{"steps": 500}``.
        store
            Folder of finished stages, with which a killed training resumes, and graphs on the same cells share
            stage 1. None keeps nothing.
        accelerator
            ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
        seed
            Seed for weights, batches and noise.

        Raises
        ------
        UserError
            If the graph cannot be imposed on these genes, or a hyperparameter is invalid.

        Examples
        --------
        >>> import llm4grn as lg
        >>> cells = lg.preprocess(lg.datasets.pbmc68k_reduced(), n_genes=50, n_test=100, n_validation=100)
        >>> graph = lg.infer_grn(cells, inferer="correlation", k=3).top(3)
        >>> short = {"steps": 2}  # for the example; leave it out
        >>> model = lg.CausalGenerator.fit(cells, graph, controller=short, causal_gan=short)
        >>> model.generate(5).shape
        (5, 50)
        """
        from llm4grn.gan import api

        if graph.genes != cells.genes:
            raise UserError("graph: its genes are not those of the cells; make it with infer_grn on the same cells")
        graph.validate()
        hyper, values = model_named(model, controller or {}, causal_gan or {})
        args = {"seed": seed, "library_size": cells.library_size}
        stage1 = Stage("controller", 2, {"model": describe(hyper.controller), **args}, {"cells": cells.fingerprint})
        edges = {target: list(graph.regulators[target]) for target in graph.targets}
        inputs: dict[str, Stage | str] = {"cells": cells.fingerprint, "controller": stage1}
        stage2 = Stage("causal_gan", 2, {"model": describe(hyper.causal_gan), "graph": edges, **args}, inputs)

        def training(stage: str, validate_every: int) -> dict[str, Any]:
            return {
                "validation": cells.validation if validate_every else None,
                "library_size": cells.library_size,
                "seed": derive_seed(seed, stage),
                "trainer": {"accelerator": accelerator},
                "loggers": (),
            }

        def train_controller(folder: Path) -> None:
            common = training("controller", hyper.controller.validate_every)
            api.train_controller(cells.train, hyper.controller, folder=folder, **common)

        def train_causal_gan(folder: Path) -> None:
            common = training("causal_gan", hyper.causal_gan.validate_every)
            first = kept.path(stage1)
            hypers = hyper.controller, hyper.causal_gan
            api.train_causal_gan(cells.train, graph, first, *hypers, folder=folder, **common)

        quiet_lightning()
        with tempfile.TemporaryDirectory() as temporary:
            kept = Store(Path(temporary if store is None else store))
            kept.get_or_run(stage1, train_controller)
            folder = kept.get_or_run(stage2, train_causal_gan)
            hypers = hyper.controller, hyper.causal_gan
            gan = api.load_causal_gan(folder, graph, *hypers, cells.library_size)
        return cls(gan, graph, api.run_config(values, cells.library_size))

    def generate(self, n_cells: int, seed: int = 1000) -> AnnData:
        """Return synthetic cells: normalised counts, (n_cells, n_genes).

        With the same seed, fewer cells are the first rows of more. Use :meth:`write` for more cells than memory holds.
        """
        from llm4grn.gan.api import as_adata

        return as_adata(self._gan.generate(n_cells, seed), self.graph.genes)

    def write(self, path: str | Path, n_cells: int, seed: int = 1000) -> Path:
        """Write the cells of :meth:`generate` to an ``.h5ad`` in constant memory, and return its path."""
        from llm4grn.gan.generation import write_cells

        write_cells(self._gan, Path(path), n_cells, seed)
        return Path(path)

    def do(self, interventions: Mapping[str, object], n_cells: int = 500, seed: int = 1000) -> tuple[AnnData, AnnData]:
        """Return the same cells before and after interventions, (n_cells, n_genes) each.

        Root TFs, noise and the scale of each cell stay the same, so only the named genes and their descendants differ.

        Parameters
        ----------
        interventions
            Gene to amount: counts per cell such as 0, or a multiple of the cell's own expression such as ``"3.2x"``.
        n_cells, seed
            Number of cells and seed for the noise, see :meth:`generate`.

        Raises
        ------
        UserError
            If no intervention is given, a gene is not in the graph, or an amount is not a number >= 0.
        """
        from llm4grn.gan.api import as_adata
        from llm4grn.gan.interventions import parse_interventions

        parsed = parse_interventions(interventions, self.graph.genes)
        before, after = self._gan.do(parsed, n_cells, seed)
        return as_adata(before, self.graph.genes), as_adata(after, self.graph.genes)

    def fold_changes(self, interventions: Mapping[str, object], n_cells: int = 500, seed: int = 1000) -> pd.DataFrame:
        """Return the effect of :meth:`do` on each gene, the largest change first.

        The columns are those of :func:`~llm4grn.evaluation.cells.perturbation.fold_changes`.
        """
        from llm4grn.evaluation.cells.perturbation import fold_changes

        before, after = (cells.X.toarray() for cells in self.do(interventions, n_cells, seed))
        return fold_changes(before, after, self.graph, list(interventions))

    def save(self, folder: str | Path) -> Path:
        """Write ``generator.pt``, ``graph.json`` and ``config.yaml`` for `load` and the commands on runs."""
        from llm4grn.gan.api import save_trained

        return save_trained(self._gan, self.graph, self.config, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> CausalGenerator:
        """Read a folder that :meth:`save` wrote, or that of a finished run of ``llm4grn train``. Nothing is unpickled.

        Raises
        ------
        UserError
            If files are missing or do not belong together.
        """
        from llm4grn.gan.api import load_trained, read_config

        gan, graph = load_trained(Path(folder))
        return cls(gan, graph, read_config(Path(folder)))

    def __repr__(self) -> str:
        graph = self.graph
        return (
            f"CausalGenerator: {len(graph.genes)} genes, {len(graph.tf_names)} TFs, {len(graph.targets)} targets, "
            f"{graph.n_edges} edges, model={self.config['model']['name']}"
        )
