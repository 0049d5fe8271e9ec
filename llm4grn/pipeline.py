"""The line from raw counts to scores: each stage a function of the ones before it, kept in the store by content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.data.preprocess import Preprocessing
from llm4grn.data.sources import Source
from llm4grn.errors import UserError
from llm4grn.gan.hyperparameters import CausalGANHyperparameters, ControllerHyperparameters
from llm4grn.grn import GRN, CausalGraph
from llm4grn.inference.base import Inferer
from llm4grn.knowledge.base import KnowledgeBase, TFSet
from llm4grn.metrics.registry import METRICS
from llm4grn.seeding import derive_seed
from llm4grn.store import Stage, Store, atomic_write

if TYPE_CHECKING:
    from anndata import AnnData
    from pytorch_lightning.loggers import Logger


@dataclass(frozen=True)
class Dataset:
    """A source of raw counts and what is done to them; ``context`` is all that an LLM learns of it."""

    name: str
    source: Source
    preprocessing: Preprocessing
    context: str = ""


@dataclass(frozen=True)
class Model:
    """Hyperparameters of both stages of the generator."""

    name: str
    controller: ControllerHyperparameters
    causal_gan: CausalGANHyperparameters


@dataclass(frozen=True)
class Setting:
    """One cell of the paper's table: everything that decides its numbers, and nothing else.

    Parameters
    ----------
    dataset
        Where the cells come from.
    kb, inferer
        Who names the TFs and who draws the edges, each with its name in the tables.
    k, strategy
        Which of the ranked edges are imposed, see :meth:`GRN.top`.
    model
        The generator; ``None`` for a line that ends at the graph.
    n_samples
        Synthetic data sets per trained model, each as large as the test set.
    metrics
        Names from the registry.
    llm
        Name of the language model in the tables, empty if none takes part.
    seed, inference_seed
        Of everything; of the inference alone (consistency is measured over its seeds).
    """

    dataset: Dataset
    kb_name: str
    kb: KnowledgeBase
    inferer_name: str
    inferer: Inferer
    k: int = 10
    strategy: str = "top"
    model: Model | None = None
    n_samples: int = 4
    metrics: Sequence[str] = tuple(METRICS)
    llm: str = ""
    seed: int = 1000
    inference_seed: int = 1000

    def __post_init__(self) -> None:
        for name in "seed", "inference_seed":
            _require_whole(name, getattr(self, name), 0)
        _require_whole("graph.k", self.k, 1)
        _require_whole("evaluation.n_samples", self.n_samples, 1)
        if self.strategy not in (strategies := ("top", "bottom", "random", "odd", "even")):
            raise UserError(f"graph.strategy={self.strategy}: choose one of {', '.join(strategies)}")
        unknown = [metric for metric in self.metrics if metric not in METRICS]
        if unknown or not self.metrics:
            raise UserError(f"evaluation.metrics={list(self.metrics)}: choose some of {', '.join(METRICS)}")

    @property
    def labels(self) -> dict[str, Any]:
        """The columns of the results table that name this setting."""
        return {
            "dataset": self.dataset.name,
            "kb": self.kb_name,
            "inferer": self.inferer_name,
            "llm": self.llm,
            "model": self.model.name if self.model else "",
            "graph": f"{self.strategy} {self.k}",
            "seed": self.seed,
        }

    @property
    def name(self) -> str:
        """For folders and lists; different settings can share it, so a key goes with it."""
        labels = self.labels
        parts = [labels[key] for key in ("dataset", "kb", "inferer", "llm", "model") if labels[key]]
        return "_".join([*parts, f"{self.strategy}{self.k}", f"seed{self.seed}"])


@dataclass(frozen=True)
class Pipeline:
    """The stages of one setting. A stage that is in the store is read; any other runs first what it needs.

    Parameters
    ----------
    setting
        What to compute.
    store
        Where finished stages are kept.
    trainer
        Arguments of Lightning's trainer (accelerator, devices, precision): they do not change what is computed.
    loggers
        Called when a training begins: the Lightning loggers that follow it.
    """

    setting: Setting
    store: Store
    trainer: Mapping[str, Any] = field(default_factory=dict)
    loggers: Callable[[], Sequence[Logger]] = tuple

    # -- what each stage depends on ---------------------------------------------------------------------------------

    @cached_property
    def data(self) -> Stage:
        dataset = self.setting.dataset
        dataset.source.prepare()
        args = {"source": describe(dataset.source), "preprocessing": describe(dataset.preprocessing)}
        return Stage("data", 1, {**args, "seed": self.setting.seed})

    @cached_property
    def tfs(self) -> Stage:
        args = {"kb": describe(self.setting.kb), "context": self.setting.dataset.context, "seed": self.setting.seed}
        return Stage("tfs", 1, args, {"data": self.data})

    @cached_property
    def grn(self) -> Stage:
        args = {"inferer": describe(self.setting.inferer), "seed": self.setting.inference_seed}
        return Stage("grn", 1, args, {"data": self.data, "tfs": self.tfs})

    @cached_property
    def graph(self) -> Stage:
        args = {"k": self.setting.k, "strategy": self.setting.strategy, "seed": self.setting.inference_seed}
        return Stage("graph", 1, args, {"data": self.data, "tfs": self.tfs, "grn": self.grn})

    @cached_property
    def controller(self) -> Stage:
        args = {"model": describe(self.setting.model.controller), "seed": self.setting.seed}
        return Stage("controller", 1, args, {"data": self.data})

    @cached_property
    def causal_gan(self) -> Stage:
        args = {"model": describe(self.setting.model.causal_gan), "seed": self.setting.seed}
        inputs = {"data": self.data, "graph": self.graph, "controller": self.controller}
        return Stage("causal_gan", 1, args, inputs)

    def cells(self, source: str) -> Stage:
        """Synthetic data sets of ``stage1`` or ``run``; for ``control``, real training cells in their place."""
        inputs = {"control": self.data, "stage1": self.controller, "run": self.causal_gan}
        args = {"source": source, "n_samples": self.setting.n_samples, "seed": self.setting.seed}
        return Stage("cells", 1, args, {"data": self.data, "generator": inputs[source]})

    def scores(self, source: str) -> Stage:
        args = {"metrics": sorted(self.setting.metrics), "seed": self.setting.seed}
        return Stage("scores", 1, args, {"data": self.data, "cells": self.cells(source)})

    # -- results, computed if they are not there ----------------------------------------------------------------------

    @cached_property
    def adata(self) -> AnnData:
        """Preprocessed cells of all splits."""
        import anndata

        return anndata.read_h5ad(self.store.get_or_run(self.data, self._build_data) / "cells.h5ad")

    def split(self, name: str) -> AnnData:
        """The cells of ``train``, ``validation`` or ``test``."""
        from llm4grn.data.preprocess import split

        return split(self.adata, name)

    @cached_property
    def tf_set(self) -> TFSet:
        return TFSet.from_json(self.store.get_or_run(self.tfs, self._build_tfs) / "tfs.json")

    @cached_property
    def inferred_grn(self) -> GRN:
        return GRN.read(self.store.get_or_run(self.grn, self._build_grn) / "grn.tsv")

    @cached_property
    def causal_graph(self) -> CausalGraph:
        return CausalGraph.from_json(self.store.get_or_run(self.graph, self._build_graph) / "graph.json")

    def controller_folder(self) -> Path:
        return self.store.get_or_run(self.controller, self._build_controller)

    def causal_gan_folder(self) -> Path:
        return self.store.get_or_run(self.causal_gan, self._build_causal_gan)

    def cell_files(self, source: str) -> list[Path]:
        """One ``.h5ad`` per synthetic data set."""
        folder = self.store.get_or_run(self.cells(source), lambda folder: self._build_cells(source, folder))
        return [folder / f"{i}.h5ad" for i in range(self.setting.n_samples)]

    def sample_scores(self, source: str) -> list[dict[str, float]]:
        """Metric values of each synthetic data set."""
        folder = self.store.get_or_run(self.scores(source), lambda folder: self._build_scores(source, folder))
        return json.loads((folder / "scores.json").read_text())

    # -- how each stage is built, into the folder it is given --------------------------------------------------------

    def _build_data(self, folder: Path) -> None:
        dataset = self.setting.dataset
        adata = dataset.preprocessing.run(dataset.source.load(), self.setting.seed)
        adata.write_h5ad(folder / "cells.h5ad", compression="gzip")

    def _build_tfs(self, folder: Path) -> None:
        genes = list(self.adata.var_names)
        tfs = self.setting.kb.transcription_factors(genes, self.setting.dataset.context, self.setting.seed)
        tfs.to_json(folder / "tfs.json")

    def _build_grn(self, folder: Path) -> None:
        train = self.split("train")
        if not self.setting.inferer.uses_expression:
            train = _names_only(train)
        tf_names = self.tf_set.names
        if self.setting.k > len(tf_names):  # known before an inference of hours
            raise UserError(
                f"graph.k={self.setting.k}: the knowledge base names only {len(tf_names)} TFs among the genes; "
                f"choose graph.k={len(tf_names)} or less, or another kb"
            )
        self.setting.inferer.infer(train, tf_names, self.setting.inference_seed).write(folder / "grn.tsv")

    def _build_graph(self, folder: Path) -> None:
        genes, tf_names = list(self.adata.var_names), self.tf_set.names
        setting = self.setting
        graph = self.inferred_grn.top(setting.k, genes, tf_names, setting.strategy, setting.inference_seed)
        graph.validate()
        graph.to_json(folder / "graph.json")

    def _build_controller(self, folder: Path) -> None:
        from llm4grn.gan import stages

        stages.train_controller(
            self.split("train"),
            self.setting.model.controller,
            library_size=self.setting.dataset.preprocessing.library_size,
            seed=derive_seed(self.setting.seed, "controller"),
            folder=folder,
            trainer=self.trainer,
            loggers=self.loggers(),
        )

    def _build_causal_gan(self, folder: Path) -> None:
        from llm4grn.gan import stages

        graph, controller = self.causal_graph, self.controller_folder()  # the graph first: cheap, and may be refused
        stages.train_causal_gan(
            self.split("train"),
            graph,
            controller,
            self.setting.model.controller,
            self.setting.model.causal_gan,
            library_size=self.setting.dataset.preprocessing.library_size,
            seed=derive_seed(self.setting.seed, "causal_gan"),
            folder=folder,
            trainer=self.trainer,
            loggers=self.loggers(),
        )

    def _build_cells(self, source: str, folder: Path) -> None:
        for i, cells in enumerate(self._generate(source)):
            cells.uns["provenance"] = {key: str(value) for key, value in self._provenance(source, i).items()}
            with atomic_write(folder / f"{i}.h5ad") as path:
                cells.write_h5ad(path, compression="gzip")

    def _generate(self, source: str) -> Iterable[AnnData]:
        from llm4grn.gan import stages

        model, n_cells = self.setting.model, self.split("test").n_obs
        genes = list(self.adata.var_names)
        seeds = [derive_seed(self.setting.seed, source, i) for i in range(self.setting.n_samples)]
        library_size = self.setting.dataset.preprocessing.library_size
        if source == "control":
            return [_draw(self.split("train"), n_cells, seed) for seed in seeds]
        if source == "stage1":
            folder = self.controller_folder()
            return stages.controller_cells(folder, model.controller, genes, library_size, n_cells, seeds)
        graph, folder = self.causal_graph, self.causal_gan_folder()
        return stages.causal_gan_cells(folder, graph, model.controller, model.causal_gan, library_size, n_cells, seeds)

    def _provenance(self, source: str, sample: int) -> dict[str, Any]:
        stage = self.cells(source)
        return {**self.setting.labels, "source": source, "sample": sample, "stage": stage.key, "data": self.data.key}

    def _build_scores(self, source: str, folder: Path) -> None:
        import anndata

        from llm4grn.evaluation.score import score
        from llm4grn.progress import progress

        files = self.cell_files(source)
        real = self.split("test").X
        scores = []
        for i, path in enumerate(progress(files, desc=f"scoring {source}", unit="set")):
            seed = derive_seed(self.setting.seed, "score", i)
            scores.append(score(real, anndata.read_h5ad(path).X, seed, sorted(self.setting.metrics)))
        with atomic_write(folder / "scores.json") as path:
            path.write_text(json.dumps(scores, indent=1) + "\n")


def describe(part: object) -> dict[str, Any]:
    """What decides the results of a dataclass, for the key of its stage: class, fields that count in comparisons, and
    the fingerprint of its files, if it has any."""
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.compare}
    fingerprint = part.fingerprint() if hasattr(part, "fingerprint") else {}
    return {"class": type(part).__name__, **values, **fingerprint}


def _require_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name}={value}: expected a whole number, {least} or more")


def _names_only(adata: AnnData) -> AnnData:
    """Genes without a single cell: for inferers that must not see expression."""
    import anndata

    return anndata.AnnData(var=adata.var[[]])


def _draw(adata: AnnData, n_cells: int, seed: int) -> AnnData:
    """``n_cells`` cells at random, without replacement; all of them if there are no more."""
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(adata.n_obs)[:n_cells]
    return adata[np.sort(chosen)].copy()
