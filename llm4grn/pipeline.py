"""The pipeline from raw counts to scores: each stage is a function of earlier ones, and is kept in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError
from llm4grn.grn import GRN, CausalGraph
from llm4grn.inference.base import CombiningInferer, names_only
from llm4grn.knowledge.base import TFSet
from llm4grn.knowledge.none import NoPriorList
from llm4grn.runtime.h5ad import write_h5ad
from llm4grn.runtime.seeding import derive_seed
from llm4grn.setting import Model, Setting
from llm4grn.store import Stage, Store, atomic_write

if TYPE_CHECKING:
    from anndata import AnnData
    from pytorch_lightning.loggers import Logger

    from llm4grn.evaluation.graphs.predictive_score import PredictiveScore
    from llm4grn.gan.training_cells import Cells


@dataclass(frozen=True)
class Pipeline:
    """The stages of one setting, each read from the store or built after the stages that it needs.

    Parameters
    ----------
    setting
        Setting to compute.
    store
        Store of finished stages.
    trainer
        Options that do not change what is computed: ``accelerator`` and ``devices`` of Lightning's trainer,
        ``compile`` for torch.compile, and ``stream`` to read cells from their file (None: if memory is too small).
    loggers
        Function that returns the Lightning loggers of a training, called when it begins.
    """

    setting: Setting
    store: Store
    trainer: Mapping[str, Any] = field(default_factory=dict)
    loggers: Callable[[], Sequence[Logger]] = tuple

    @property
    def model(self) -> Model:
        """Hyperparameters of the generator.

        Raises
        ------
        ValueError
            If the setting ends at the graph.
        """
        if self.setting.model is None:
            raise ValueError("this setting ends at the graph: it has no model")
        return self.setting.model

    # -- what each stage depends on -------------------------------------------------------------------------------

    @cached_property
    def data(self) -> Stage:
        """Stage of the preprocessed cells; the first access downloads or checks the files of the source."""
        dataset = self.setting.dataset
        dataset.source.prepare()
        args = {"source": describe(dataset.source), "preprocessing": describe(dataset.preprocessing)}
        return Stage("data", 1, {**args, "seed": self.setting.seed})

    @cached_property
    def tfs(self) -> Stage:
        """Stage of the transcription factors."""
        args = {"kb": describe(self.setting.kb), "context": self.setting.dataset.context, "seed": self.setting.seed}
        return Stage("tfs", 1, args, {"data": self.data, **({"grn": self.grn} if self._tfs_from_network else {})})

    @cached_property
    def grn(self) -> Stage:
        """Stage of the ranked edges."""
        args = {"inferer": describe(self.setting.inferer), "seed": self.setting.inference_seed}
        args |= {"tf_targets": True} if self._infers_tf_regulators else {}
        members = {f"member {name}": member.grn for name, member in self.members.items()}
        tfs = {} if self._tfs_from_network else {"tfs": self.tfs}
        return Stage("grn", 1, args, {"data": self.data, **tfs, **members})

    @cached_property
    def members(self) -> dict[str, Pipeline]:
        """Pipelines of the members of a combining inferer, by name; empty for any other inferer."""
        inferer = self.setting.inferer
        members = inferer.members if isinstance(inferer, CombiningInferer) else {}
        return {name: replace(self, setting=replace(self.setting, inferer=of)) for name, of in members.items()}

    @property
    def networks(self) -> list[Pipeline]:
        """Pipelines of all networks that this one is made of, each after those that it reads, and this one last."""
        return [*(network for member in self.members.values() for network in member.networks), self]

    @property
    def inferences(self) -> list[Pipeline]:
        """Pipelines whose inferer ranks edges itself: those of the members, or this one."""
        return [network for network in self.networks if not network.members]

    @property
    def _tfs_from_network(self) -> bool:
        """True if the TFs are chosen from the ranked network, which then ranks all genes."""
        return isinstance(self.setting.kb, NoPriorList)

    @property
    def _infers_tf_regulators(self) -> bool:
        """True if regulators of TFs are inferred in a second call; without a prior list, one call ranks all genes."""
        return self.setting.tf_k > 0 and not self._tfs_from_network

    @property
    def _candidates(self) -> tuple[str, ...] | None:
        """TFs that the inferer may choose regulators from; None for all genes."""
        return None if self._tfs_from_network else self.tf_set.names

    @cached_property
    def graph(self) -> Stage:
        """Stage of the graph to impose."""
        args = {"k": self.setting.k, "strategy": self.setting.strategy, "seed": self.setting.inference_seed}
        args |= {"tf_k": self.setting.tf_k} if self.setting.tf_k else {}
        return Stage("graph", 1, args, {"data": self.data, "tfs": self.tfs, "grn": self.grn})

    @cached_property
    def controller(self) -> Stage:
        """Stage of the trained causal controller (stage 1)."""
        args = {"model": describe(self.model.controller), "seed": self.setting.seed}
        return Stage("controller", 2, args, {"data": self.data})

    @cached_property
    def causal_gan(self) -> Stage:
        """Stage of the trained causal GAN (stage 2)."""
        args = {"model": describe(self.model.causal_gan), "seed": self.setting.seed}
        inputs = {"data": self.data, "graph": self.graph, "controller": self.controller}
        return Stage("causal_gan", 2, args, inputs)

    def cells(self, source: str) -> Stage:
        """Return the stage of synthetic data sets of ``stage1`` or ``run``, or of training cells for ``control``."""
        inputs = {"control": self.data, "stage1": self.controller, "run": self.causal_gan}
        args = {"source": source, "n_samples": self.setting.n_samples, "seed": self.setting.seed}
        return Stage("cells", 1, args, {"data": self.data, "generator": inputs[source]})

    def scores(self, source: str) -> Stage:
        """Return the stage that scores the cells of ``control``, ``stage1`` or ``run``."""
        args = {"metrics": sorted(self.setting.metrics), "seed": self.setting.seed}
        args |= {"exact": True} if self.setting.exact else {}
        return Stage("scores", 2, args, {"data": self.data, "cells": self.cells(source)})

    @property
    def stages(self) -> list[Stage]:
        """All stages of the pipeline, each after those it reads; without a model it ends at the graph."""
        networks = [network.grn for network in self.networks]
        inferred = [*networks, self.tfs] if self._tfs_from_network else [self.tfs, *networks]
        stages = [self.data, *inferred, self.graph]
        if self.setting.model is None:
            return stages
        sources = "control", "stage1", "run"
        scored = [stage for source in sources for stage in (self.cells(source), self.scores(source))]
        return [*stages, self.controller, self.causal_gan, *scored]

    # -- results, computed if they are not in the store -----------------------------------------------------------

    @cached_property
    def adata(self) -> AnnData:
        """Preprocessed cells of all splits, (n_cells, n_genes)."""
        import anndata

        return anndata.read_h5ad(self.store.get_or_run(self.data, self._build_data) / "cells.h5ad")

    @property
    def genes(self) -> list[str]:
        """Names of all genes; read from the graph if it is finished, which needs no heavy library."""
        if self.store.has(self.graph):
            return list(self.causal_graph.genes)
        return list(map(str, self.adata.var_names))

    def split(self, name: str) -> AnnData:
        """Return the cells of the split ``train``, ``validation`` or ``test``."""
        from llm4grn.data.preprocess import split

        return split(self.adata, name)

    @cached_property
    def tf_set(self) -> TFSet:
        """Transcription factors among the genes."""
        return TFSet.from_json(self.store.get_or_run(self.tfs, self._build_tfs) / "tfs.json")

    @cached_property
    def inferred_grn(self) -> GRN:
        """Ranked edges."""
        return GRN.read(self.store.get_or_run(self.grn, self._build_grn) / "grn.tsv")

    @cached_property
    def causal_graph(self) -> CausalGraph:
        """Graph to impose."""
        return CausalGraph.from_json(self.store.get_or_run(self.graph, self._build_graph) / "graph.json")

    @cached_property
    def predictive_score(self) -> PredictiveScore | None:
        """Held-out predictive score of the causal graph; None if no model was asked for.

        Random graphs and the ceiling are a stage of their own, which graphs over the same TFs share.
        """
        from llm4grn.evaluation.graphs.predictive import sizes_of
        from llm4grn.evaluation.graphs.predictive_score import FILE, PredictiveScore

        if not self.setting.predictive:
            return None
        args = {"models": list(self.setting.predictive), "seed": self.setting.seed}
        sizes = [*map(list, zip(self.causal_graph.targets, sizes_of(self.causal_graph), strict=True))]
        ruler = Stage("predictive_ruler", 1, {**args, "sizes": sizes}, {"data": self.data, "tfs": self.tfs})
        stage = Stage("predictive", 1, args, {"ruler": ruler, "graph": self.graph})
        folder = self.store.get_or_run(stage, lambda folder: self._build_predictive(ruler, folder / FILE))
        return PredictiveScore.read(folder / FILE)

    def controller_folder(self) -> Path:
        """Return the folder of the trained causal controller (stage 1)."""
        return self.store.get_or_run(self.controller, self._build_controller)

    def causal_gan_folder(self) -> Path:
        """Return the folder of the trained causal GAN (stage 2)."""
        return self.store.get_or_run(self.causal_gan, self._build_causal_gan)

    def cell_files(self, source: str) -> list[Path]:
        """Return one ``.h5ad`` per synthetic data set of ``control``, ``stage1`` or ``run``."""
        folder = self.store.get_or_run(self.cells(source), lambda folder: self._build_cells(source, folder))
        return [folder / f"{i}.h5ad" for i in range(self.setting.n_samples)]

    def sample_scores(self, source: str) -> list[dict[str, float]]:
        """Return metric names and values, one mapping per synthetic data set."""
        folder = self.store.get_or_run(self.scores(source), lambda folder: self._build_scores(source, folder))
        return json.loads((folder / "scores.json").read_text())

    def all_scores(self) -> dict[str, list[dict[str, float]]]:
        """Return the metric values of control, stage 1 and run, by source.

        The run comes first, and sources that another process is working on come later: jobs of a sweep that share a
        stage score something else while one of them trains it.
        """
        sources = {
            "run": (self.controller, self.causal_gan, self.scores("run")),
            "control": (self.scores("control"),),
            "stage1": (self.controller, self.scores("stage1")),
        }
        scores: dict[str, list[dict[str, float]]] = {}
        while pending := [source for source in sources if source not in scores]:
            free = (source for source in pending if not any(map(self.store.is_busy, sources[source])))
            source = next(free, pending[0])
            if source != "control":
                self.controller_folder()  # trained before the stages that read it start
            scores[source] = self.sample_scores(source)
        return scores

    # -- questions to language models, and their audit ------------------------------------------------------------

    def previews(self) -> list[str]:
        """Return the prompts and expected costs of each stage that asks a language model; nothing is asked."""
        kb, inferer, genes = self.setting.kb, self.setting.inferer, list(self.adata.var_names)
        previews = [kb.preview(genes, self.setting.dataset.context, self.setting.seed)]
        if self._tfs_from_network or previews[0] is None or self.store.has(self.tfs):
            previews.append(inferer.preview(genes, self._candidates, self.setting.inference_seed))
        elif (preview := inferer.preview(genes, genes[::10], self.setting.inference_seed)) is not None:
            previews.append(f"The TFs are not known yet; as if they were one gene in ten:\n\n{preview}")
        return [preview for preview in previews if preview is not None]

    def audits(self) -> dict[str, dict[str, Any]]:
        """Return the audit of each stage that asked a language model, by subject."""
        provenances: list[tuple[str, Mapping[str, Any]]] = [("transcription factors", self.tf_set.provenance)]
        provenances += [("regulators", pipeline.inferred_grn.provenance) for pipeline in self.inferences]
        return {title: provenance["audit"] for title, provenance in provenances if "audit" in provenance}

    # -- how each stage is built, into the folder it is given -----------------------------------------------------

    def _build_data(self, folder: Path) -> None:
        dataset = self.setting.dataset
        adata = dataset.preprocessing.run(dataset.source.load(), self.setting.seed)
        with atomic_write(folder / "cells.h5ad") as path:
            write_h5ad(adata, path)

    def _build_tfs(self, folder: Path) -> None:
        genes = list(self.adata.var_names)
        kb = self.setting.kb
        if isinstance(kb, NoPriorList):
            tfs = kb.select(self.inferred_grn, genes)
        else:
            tfs = kb.transcription_factors(genes, self.setting.dataset.context, self.setting.seed)
        tfs.to_json(folder / "tfs.json")

    def _build_grn(self, folder: Path) -> None:
        tf_names = self._candidates
        if tf_names is not None and self.setting.k > len(tf_names):  # checked before an inference that may take hours
            raise UserError(
                f"graph.k={self.setting.k}: the knowledge base names only {len(tf_names)} TFs among the genes; "
                f"choose graph.k={len(tf_names)} or less, or another kb"
            )
        inferer, seed = self.setting.inferer, self.setting.inference_seed
        if isinstance(inferer, CombiningInferer):
            networks = {name: member.inferred_grn for name, member in self.members.items()}
            inferer.combine(networks, list(self.adata.var_names), tf_names, seed).write(folder / "grn.tsv")
            return
        train = self.split("train") if inferer.uses_expression else names_only(self.adata)
        # The few TFs come first: a method that cannot rank them fails before it ranks the many targets.
        among_tfs = None
        if self._infers_tf_regulators and tf_names is not None:
            among_tfs = inferer.infer(train[:, list(tf_names)].copy(), None, seed)
        grn = inferer.infer(train, tf_names, seed)
        (grn.joined(among_tfs) if among_tfs else grn).write(folder / "grn.tsv")

    def _build_graph(self, folder: Path) -> None:
        genes, tf_names = list(self.adata.var_names), self.tf_set.names
        setting = self.setting
        seed = setting.inference_seed
        graph = self.inferred_grn.top(setting.k, genes, tf_names, setting.strategy, seed, setting.tf_k)
        graph.validate()
        graph.to_json(folder / "graph.json")

    def _build_predictive(self, ruler: Stage, path: Path) -> None:
        from llm4grn.evaluation.graphs.held_out import HeldOut
        from llm4grn.evaluation.graphs.predictive import PredictiveRuler

        seed, graph, tf_names = self.setting.seed, self.causal_graph, self.tf_set.names
        cells = HeldOut.of(self.split("train"), self.split("test"), seed)

        def measure(folder: Path) -> None:
            models = self.setting.predictive
            PredictiveRuler.of(cells, graph, tf_names, models, seed).write(folder / "ruler.npz")

        file = self.store.get_or_run(ruler, measure) / "ruler.npz"
        PredictiveRuler.read(file, cells, graph, tf_names).score(graph).write(path)

    def _build_controller(self, folder: Path) -> None:
        from llm4grn.gan import api

        hyper = self.model.controller
        api.train_controller(
            self._training_cells(),
            hyper,
            validation=self.split("validation") if hyper.validate_every else None,
            library_size=self.setting.dataset.preprocessing.library_size,
            seed=derive_seed(self.setting.seed, "controller"),
            folder=folder,
            trainer=self.trainer,
            loggers=self.loggers(),
        )

    def _build_causal_gan(self, folder: Path) -> None:
        from llm4grn.gan import api

        graph, controller = (
            self.causal_graph,
            self.controller_folder(),
        )  # the graph first: cheap, and may be invalid
        hyper = self.model.causal_gan
        api.train_causal_gan(
            self._training_cells(),
            graph,
            controller,
            self.model.controller,
            hyper,
            validation=self.split("validation") if hyper.validate_every else None,
            library_size=self.setting.dataset.preprocessing.library_size,
            seed=derive_seed(self.setting.seed, "causal_gan"),
            folder=folder,
            trainer=self.trainer,
            loggers=self.loggers(),
        )

    def _training_cells(self) -> Cells:
        from llm4grn.gan.training_cells import open_cells

        path = self.store.get_or_run(self.data, self._build_data) / "cells.h5ad"
        return open_cells(path, "train", self.trainer.get("stream"), self.trainer.get("accelerator", "auto"))

    def _build_cells(self, source: str, folder: Path) -> None:
        for i, cells in enumerate(self._generate(source)):
            cells.uns["provenance"] = {key: str(value) for key, value in self._provenance(source, i).items()}
            with atomic_write(folder / f"{i}.h5ad") as path:
                write_h5ad(cells, path)

    def _generate(self, source: str) -> Iterable[AnnData]:
        from llm4grn.gan import api

        n_cells = self.split("test").n_obs
        genes = list(self.adata.var_names)
        seeds = [derive_seed(self.setting.seed, source, i) for i in range(self.setting.n_samples)]
        library_size = self.setting.dataset.preprocessing.library_size
        if source == "control":
            return [_sample_cells(self.split("train"), n_cells, seed) for seed in seeds]
        if source == "stage1":
            folder = self.controller_folder()
            return api.controller_cells(folder, self.model.controller, genes, library_size, n_cells, seeds)
        graph, folder, model = self.causal_graph, self.causal_gan_folder(), self.model
        return api.causal_gan_cells(folder, graph, model.controller, model.causal_gan, library_size, n_cells, seeds)

    def _provenance(self, source: str, sample: int) -> dict[str, Any]:
        stage = self.cells(source)
        return {**self.setting.labels, "source": source, "sample": sample, "stage": stage.key, "data": self.data.key}

    def _build_scores(self, source: str, folder: Path) -> None:
        import anndata

        from llm4grn.evaluation.scores.score import score_all
        from llm4grn.runtime.progress import progress

        setting, files = self.setting, self.cell_files(source)
        sets = (anndata.read_h5ad(path).X for path in progress(files, desc=f"scoring {source}", unit="set"))
        seeds = [derive_seed(setting.seed, "score", i) for i in range(len(files))]
        metrics, device = sorted(setting.metrics), _device(self.trainer)
        scores = score_all(self.split("test").X, sets, seeds, metrics, device, setting.exact)
        with atomic_write(folder / "scores.json") as path:
            path.write_text(json.dumps(scores, indent=1) + "\n")


def describe(part: Any) -> dict[str, Any]:
    """Describe everything that determines the results of a dataclass, for the key of its stage.

    The description has its class, its fields that are compared (nested dataclasses described likewise), and the
    fingerprint of its files, if it has any. A field marked ``optional`` is left out at its default, so that keys from
    before the field existed stay valid.
    """
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.compare}
    at_default = {f.name for f in fields(part) if f.metadata.get("optional") and _same(values[f.name], f.default)}
    values = {name: value for name, value in values.items() if name not in at_default}
    values = {name: describe(value) if is_dataclass(value) else value for name, value in values.items()}
    fingerprint = part.fingerprint() if hasattr(part, "fingerprint") else {}
    return {"class": type(part).__name__, **values, **fingerprint}


def _same(value: Any, default: Any) -> bool:
    return list(value) == list(default) if isinstance(default, tuple) else value == default


def _device(trainer: Mapping[str, Any]) -> str:
    """Return the torch device for metrics: a GPU where the trainer would use one."""
    import torch

    may_use_gpu = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    return "cuda" if may_use_gpu and torch.cuda.is_available() else "cpu"


def _sample_cells(adata: AnnData, n_cells: int, seed: int) -> AnnData:
    """Return ``n_cells`` random cells without replacement, or all cells if there are fewer."""
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(adata.n_obs)[:n_cells]
    return adata[np.sort(chosen)].copy()
