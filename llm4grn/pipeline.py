"""The line from raw counts to scores: each stage a function of the ones before it, kept in the store by content."""

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
from llm4grn.runtime.seeding import derive_seed
from llm4grn.setting import Model, Setting
from llm4grn.store import Stage, Store, atomic_write

if TYPE_CHECKING:
    from anndata import AnnData
    from pytorch_lightning.loggers import Logger

    from llm4grn.gan.training_cells import Cells


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
        Arguments of Lightning's trainer (accelerator, devices), whether to ``compile`` the training, and whether to
        ``stream`` its cells from their file (None: if they do not fit in memory): they do not change what is computed.
    loggers
        Called when a training begins: the Lightning loggers that follow it.
    """

    setting: Setting
    store: Store
    trainer: Mapping[str, Any] = field(default_factory=dict)
    loggers: Callable[[], Sequence[Logger]] = tuple

    @property
    def model(self) -> Model:
        """The generator of the setting; only stages that train or generate ask for it."""
        if self.setting.model is None:
            raise ValueError("this setting ends at the graph: it has no model")
        return self.setting.model

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
        return Stage("tfs", 1, args, {"data": self.data, **({"grn": self.grn} if self._tfs_follow else {})})

    @cached_property
    def grn(self) -> Stage:
        args = {"inferer": describe(self.setting.inferer), "seed": self.setting.inference_seed}
        args |= {"tf_targets": True} if self._ranks_tfs else {}
        members = {f"member {name}": member.grn for name, member in self.members.items()}
        return Stage("grn", 1, args, {"data": self.data, **({} if self._tfs_follow else {"tfs": self.tfs}), **members})

    @cached_property
    def members(self) -> dict[str, Pipeline]:
        """The pipelines of the inferers whose networks are combined, by name; empty for any other inferer."""
        inferer = self.setting.inferer
        members = inferer.members if isinstance(inferer, CombiningInferer) else {}
        return {name: replace(self, setting=replace(self.setting, inferer=of)) for name, of in members.items()}

    @property
    def inferences(self) -> list[Pipeline]:
        """The pipelines in which an inferer ranks edges of its own: those of the members, or this one."""
        return [leaf for member in self.members.values() for leaf in member.inferences] or [self]

    @property
    def _tfs_follow(self) -> bool:
        """Whether the TFs are chosen from the ranked network, which then ranks all genes."""
        return isinstance(self.setting.kb, NoPriorList)

    @property
    def _ranks_tfs(self) -> bool:
        """Whether TFs are ranked for TFs as well; without a prior list they always are."""
        return self.setting.tf_k > 0 and not self._tfs_follow

    @property
    def _candidates(self) -> tuple[str, ...] | None:
        """The TFs that the inferer is told; None for all genes."""
        return None if self._tfs_follow else self.tf_set.names

    @cached_property
    def graph(self) -> Stage:
        args = {"k": self.setting.k, "strategy": self.setting.strategy, "seed": self.setting.inference_seed}
        args |= {"tf_k": self.setting.tf_k} if self.setting.tf_k else {}
        return Stage("graph", 1, args, {"data": self.data, "tfs": self.tfs, "grn": self.grn})

    @cached_property
    def controller(self) -> Stage:
        args = {"model": describe(self.model.controller), "seed": self.setting.seed}
        return Stage("controller", 2, args, {"data": self.data})

    @cached_property
    def causal_gan(self) -> Stage:
        args = {"model": describe(self.model.causal_gan), "seed": self.setting.seed}
        inputs = {"data": self.data, "graph": self.graph, "controller": self.controller}
        return Stage("causal_gan", 2, args, inputs)

    def cells(self, source: str) -> Stage:
        """Synthetic data sets of ``stage1`` or ``run``; for ``control``, real training cells in their place."""
        inputs = {"control": self.data, "stage1": self.controller, "run": self.causal_gan}
        args = {"source": source, "n_samples": self.setting.n_samples, "seed": self.setting.seed}
        return Stage("cells", 1, args, {"data": self.data, "generator": inputs[source]})

    def scores(self, source: str) -> Stage:
        args = {"metrics": sorted(self.setting.metrics), "seed": self.setting.seed}
        return Stage("scores", 1, args, {"data": self.data, "cells": self.cells(source)})

    @property
    def stages(self) -> list[Stage]:
        """All stages of the line, each after those it reads; without a model it ends at the graph."""
        networks = [*(member.grn for member in self.inferences if member is not self), self.grn]
        inferred = [*networks, self.tfs] if self._tfs_follow else [self.tfs, *networks]
        stages = [self.data, *inferred, self.graph]
        if self.setting.model is None:
            return stages
        sources = "control", "stage1", "run"
        scored = [stage for source in sources for stage in (self.cells(source), self.scores(source))]
        return [*stages, self.controller, self.causal_gan, *scored]

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

    def all_scores(self) -> dict[str, list[dict[str, float]]]:
        """Metric values of control, stage 1 and run, by source.

        The run comes first. What another process is working on comes later: jobs of a sweep that share a stage score
        something else while one of them trains it, instead of waiting for it.
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
                self.controller_folder()  # before the stages that read it begin
            scores[source] = self.sample_scores(source)
        return scores

    # -- what a language model is asked, and how it did ---------------------------------------------------------------

    def previews(self) -> list[str]:
        """What a language model would be asked, and for how much; nothing is asked."""
        kb, inferer, genes = self.setting.kb, self.setting.inferer, list(self.adata.var_names)
        previews = [kb.preview(genes, self.setting.dataset.context, self.setting.seed)]
        if self._tfs_follow or previews[0] is None or self.store.has(self.tfs):
            previews.append(inferer.preview(genes, self._candidates, self.setting.inference_seed))
        elif (preview := inferer.preview(genes, genes[::10], self.setting.inference_seed)) is not None:
            previews.append(f"The TFs are not known yet; as if they were one gene in ten:\n\n{preview}")
        return [preview for preview in previews if preview is not None]

    def audits(self) -> dict[str, dict[str, Any]]:
        """The audit of each stage in which a language model was asked."""
        provenances: list[tuple[str, Mapping[str, Any]]] = [("transcription factors", self.tf_set.provenance)]
        provenances += [("regulators", pipeline.inferred_grn.provenance) for pipeline in self.inferences]
        return {title: provenance["audit"] for title, provenance in provenances if "audit" in provenance}

    # -- how each stage is built, into the folder it is given --------------------------------------------------------

    def _build_data(self, folder: Path) -> None:
        dataset = self.setting.dataset
        adata = dataset.preprocessing.run(dataset.source.load(), self.setting.seed)
        adata.write_h5ad(folder / "cells.h5ad", compression="gzip")

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
        if tf_names is not None and self.setting.k > len(tf_names):  # known before an inference of hours
            raise UserError(
                f"graph.k={self.setting.k}: the knowledge base names only {len(tf_names)} TFs among the genes; "
                f"choose graph.k={len(tf_names)} or less, or another kb"
            )
        inferer, seed = self.setting.inferer, self.setting.inference_seed
        if isinstance(inferer, CombiningInferer):
            networks = {name: member.inferred_grn for name, member in self.members.items()}
            inferer.combine(networks, list(self.adata.var_names), tf_names).write(folder / "grn.tsv")
            return
        train = self.split("train") if inferer.uses_expression else names_only(self.adata)
        # the few TFs first: a method that cannot rank them says so before the many targets
        among = None
        if self._ranks_tfs and tf_names is not None:
            among = inferer.infer(train[:, list(tf_names)].copy(), None, seed)
        grn = inferer.infer(train, tf_names, seed)
        (grn.joined(among) if among else grn).write(folder / "grn.tsv")

    def _build_graph(self, folder: Path) -> None:
        genes, tf_names = list(self.adata.var_names), self.tf_set.names
        setting = self.setting
        seed = setting.inference_seed
        graph = self.inferred_grn.top(setting.k, genes, tf_names, setting.strategy, seed, setting.tf_k)
        graph.validate()
        graph.to_json(folder / "graph.json")

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

        graph, controller = self.causal_graph, self.controller_folder()  # the graph first: cheap, and may be refused
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
                cells.write_h5ad(path, compression="gzip")

    def _generate(self, source: str) -> Iterable[AnnData]:
        from llm4grn.gan import api

        n_cells = self.split("test").n_obs
        genes = list(self.adata.var_names)
        seeds = [derive_seed(self.setting.seed, source, i) for i in range(self.setting.n_samples)]
        library_size = self.setting.dataset.preprocessing.library_size
        if source == "control":
            return [_draw(self.split("train"), n_cells, seed) for seed in seeds]
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

        from llm4grn.evaluation.scores.score import score
        from llm4grn.runtime.progress import progress

        files = self.cell_files(source)
        real = self.split("test").X
        scores = []
        for i, path in enumerate(progress(files, desc=f"scoring {source}", unit="set")):
            seed = derive_seed(self.setting.seed, "score", i)
            cells = anndata.read_h5ad(path).X
            scores.append(score(real, cells, seed, sorted(self.setting.metrics), _device(self.trainer)))
        with atomic_write(folder / "scores.json") as path:
            path.write_text(json.dumps(scores, indent=1) + "\n")


def describe(part: Any) -> dict[str, Any]:
    """What decides the results of a dataclass, for the key of its stage: class, fields that count in comparisons (those
    that are dataclasses themselves described likewise), and the fingerprint of its files, if it has any.

    A field marked ``optional`` is left out at its default: the results are those from before there was the field.
    """
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.compare}
    at_rest = {f.name for f in fields(part) if f.metadata.get("optional") and values[f.name] == f.default}
    values = {name: value for name, value in values.items() if name not in at_rest}
    values = {name: describe(value) if is_dataclass(value) else value for name, value in values.items()}
    fingerprint = part.fingerprint() if hasattr(part, "fingerprint") else {}
    return {"class": type(part).__name__, **values, **fingerprint}


def _device(trainer: Mapping[str, Any]) -> str:
    """Where metrics are computed: on a GPU when the trainer would train on one."""
    import torch

    may_use_gpu = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    return "cuda" if may_use_gpu and torch.cuda.is_available() else "cpu"


def _draw(adata: AnnData, n_cells: int, seed: int) -> AnnData:
    """``n_cells`` cells at random, without replacement; all of them if there are no more."""
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(adata.n_obs)[:n_cells]
    return adata[np.sort(chosen)].copy()
