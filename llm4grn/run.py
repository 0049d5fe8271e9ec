"""Write the folder of one run from its stages: results, table, figures, report and synthetic cells."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from llm4grn.evaluation.graphs.files import write_graph_files
from llm4grn.evaluation.scores.tables import markdown_table, terminal_table
from llm4grn.pipeline import Pipeline
from llm4grn.results import SOURCES, Result, of_cells, read_results, write_results
from llm4grn.runtime.h5ad import write_h5ad
from llm4grn.setting import Setting
from llm4grn.store import Stage, Store, atomic_write, copy_file
from llm4grn.tracking.base import Outcome, RunInfo, Tracker

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class Run:
    """One setting that is computed and written to a folder of its own.

    Parameters
    ----------
    setting
        Setting to compute.
    store
        Store of finished stages.
    outputs
        Folder in which the folder of the run is created.
    trainer
        Arguments of Lightning's trainer.
    tracker
        Tracker that follows the training and gets the scores.
    config
        Resolved configuration, written beside the results.
    command
        Command line to show in the report.
    """

    setting: Setting
    store: Store
    outputs: Path
    trainer: Mapping[str, Any]
    tracker: Tracker
    config: Mapping[str, Any]
    command: str

    @cached_property
    def pipeline(self) -> Pipeline:
        """Stages of the setting."""
        return Pipeline(self.setting, self.store, self.trainer, lambda: self.tracker.loggers(self.info))

    @cached_property
    def key(self) -> str:
        """Key of the run's numbers, hashed from the keys of all its scores."""
        return Stage("run", 1, {}, {source: self.pipeline.scores(source) for source in SOURCES}).key

    @cached_property
    def info(self) -> RunInfo:
        """Key, name, labels, configuration and folder of the run, for the tracker."""
        name = self.setting.name
        return RunInfo(self.key, name, self.setting.labels, self.config, self.outputs / f"{name}_{self.key[:8]}")

    @property
    def folder(self) -> Path:
        """Folder of the run, which need not exist yet."""
        return self.info.folder

    def execute(self) -> list[Result]:
        """Return the results of control, stage 1 and run; a run that is not finished is computed and written first."""
        if (self.folder / "results.json").is_file():
            logger.info("finished before: %s", self.folder)
            return read_results(self.folder / "results.csv")
        if line := self.setting.kb.report(self.pipeline.genes):
            logger.info(line)
        try:
            # Cheap, so before any training: an invalid graph is reported, and cells that cannot tell graphs apart.
            _ = self.pipeline.causal_graph
            predictive = self.pipeline.predictive_score
            if predictive is not None and (warning := predictive.warning()):
                logger.warning("%s: %s", self.setting.dataset.name, warning)
            scores = self.pipeline.all_scores()
            results = [
                Result(**self.setting.labels, sample=i, source=source, metric=metric, value=value)
                for source in SOURCES
                for i, sample in enumerate(scores[source])
                for metric, value in sample.items()
            ]
            if predictive is not None:
                results += [
                    Result(**self.setting.labels, sample=0, source="run", metric=metric, value=value)
                    for metric, value in predictive.metrics().items()
                ]
            self._write(results)
        finally:
            self.tracker.close()
        return results

    def table(self, results: Sequence[Result], explained: bool = True) -> str:
        """Return the table of results for the terminal.

        Parameters
        ----------
        results
            Results of :meth:`execute`.
        explained
            True to add the lines that say how to read the table.
        """
        return terminal_table(of_cells(results), self._n_cells, explained)

    @property
    def _n_cells(self) -> dict[str, int]:
        return {self.setting.dataset.name: self.setting.dataset.preprocessing.n_test}

    def _write(self, results: Sequence[Result]) -> None:
        pipeline, folder = self.pipeline, self.folder
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "config.yaml") as path:
            path.write_text(_yaml(self.config))
        for stage, name in (pipeline.tfs, "tfs.json"), (pipeline.grn, "grn.tsv"), (pipeline.graph, "graph.json"):
            copy_file(self.store.path(stage) / name, folder / name)
        copy_file(pipeline.causal_gan_folder() / "generator.pt", folder / "generator.pt")
        for i, path in enumerate(pipeline.cell_files("run")):
            copy_file(path, folder / f"synthetic_{i}.h5ad")
        with atomic_write(folder / "test.h5ad") as path:
            write_h5ad(pipeline.split("test"), path)
        names = {"dataset": self.setting.dataset.name, "method": self.setting.inferer_name}
        graph_files = write_graph_files(pipeline.inferred_grn, pipeline.causal_graph, folder, **names)
        pictures = {**self._draw(results), "Degrees of the imposed graph": graph_files.pop("degrees")}
        table = markdown_table(of_cells(results), self._n_cells)
        if pipeline.predictive_score is not None:
            pipeline.predictive_score.write(folder / "predictive.tsv")
        with atomic_write(folder / "table.md") as path:
            path.write_text(table)
        self._report(results, pictures, graph_files)
        trained = {stage.name: self.store.path(stage) for stage in (pipeline.controller, pipeline.causal_gan)}
        shown = {path.stem: path for path in pictures.values()}
        self.tracker.finish(self.info, Outcome(results, table, trained, shown))
        # Written last and atomically, because its presence marks the run as finished.
        write_results(results, folder, self._describe())

    def _draw(self, results: Sequence[Result]) -> dict[str, Path]:
        from llm4grn.evaluation.cells.plots import plot_losses, read_history

        pictures = {"Real and generated cells in one t-SNE": self.folder / "tsne.png"}
        copy_file(self._tsne(results), self.folder / "tsne.png")
        stages = {"stage 1": self.pipeline.controller, "stage 2": self.pipeline.causal_gan}
        histories = {name: read_history(self.store.path(stage) / "losses.csv") for name, stage in stages.items()}
        pictures["Losses"] = plot_losses(histories, self.folder / "losses.png")
        return pictures

    def _tsne(self, results: Sequence[Result]) -> Path:
        """Return the t-SNE figure, kept in the store because it takes longer than all other files of the run."""
        labels = {"control": "control", "stage1": "stage 1", "run": f"{self.setting.inferer_name} graph"}
        inputs = {source: self.pipeline.scores(source) for source in labels}
        stage = Stage("tsne", 1, {"labels": labels, "seed": self.setting.seed}, inputs)

        def build(folder: Path) -> None:
            import anndata

            from llm4grn.evaluation.cells.plots import joint_tsne

            sets = {label: anndata.read_h5ad(self.pipeline.cell_files(source)[0]).X for source, label in labels.items()}
            mean = {label: _mean(results, source, "rf_auroc") for source, label in labels.items()}
            auroc = {label: value for label, value in mean.items() if value is not None}
            joint_tsne(self.pipeline.split("test").X, sets, folder / "tsne.png", self.setting.seed, rf_auroc=auroc)

        return self.store.get_or_run(stage, build) / "tsne.png"

    def _report(self, results: Sequence[Result], pictures: Mapping[str, Path], graph_files: Mapping[str, Path]) -> None:
        from llm4grn.evaluation.report.run_report import write_report

        graph = self.pipeline.causal_graph
        files = {
            "Results, tidy": self.folder / "results.csv",
            "Ranked edges": self.folder / "grn.tsv",
            "Imposed graph": self.folder / "graph.json",
            **{label[0].upper() + label[1:]: path for label, path in graph_files.items()},
            "Configuration": self.folder / "config.yaml",
            "Real test cells": self.folder / "test.h5ad",
        }
        if self.pipeline.predictive_score is not None:
            files["Held-out predictive score of each target"] = self.folder / "predictive.tsv"
        files |= {f"Synthetic cells {i}": self.folder / f"synthetic_{i}.h5ad" for i in range(self.setting.n_samples)}
        write_report(
            self.folder / "report.md",
            of_cells(results),
            command=self.command,
            n_tfs=len(graph.tf_names),
            n_targets=len(graph.targets),
            n_edges=graph.n_edges,
            density=graph.density,
            pictures=pictures,
            files=files,
            n_cells=self._n_cells[self.setting.dataset.name],
            audits=self.pipeline.audits(),
            predictive=self.pipeline.predictive_score,
        )

    def _describe(self) -> dict[str, Any]:
        from llm4grn.gan.collapse import read_warnings

        pipeline = self.pipeline
        stages = {"data": pipeline.data, "tfs": pipeline.tfs, "grn": pipeline.grn, "graph": pipeline.graph}
        trained = {"controller": pipeline.controller, "causal_gan": pipeline.causal_gan}
        warnings = {name: read_warnings(self.store.path(stage)) for name, stage in trained.items()}
        return {
            "key": self.key,
            "setting": self.setting.labels,
            "n_cells": self._n_cells[self.setting.dataset.name],
            "graph": pipeline.causal_graph.summary(),
            "stages": {name: stage.key for name, stage in (stages | trained).items()},
            # Collapsed sets of generated cells are found from their scores instead (evaluation.scores.summary).
            **({"training_warnings": warnings} if any(warnings.values()) else {}),
        }


def _mean(results: Sequence[Result], source: str, metric: str) -> float | None:
    values = [result.value for result in results if result.source == source and result.metric == metric]
    return fmean(values) if values else None


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
