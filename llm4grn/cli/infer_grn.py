"""Run the pipeline up to the causal graph: transcription factors, ranked edges, and the graph to impose."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from llm4grn.cli.config import build_setting, resolved
from llm4grn.cli.main import run
from llm4grn.evaluation.graphs.calibration import calibration
from llm4grn.evaluation.graphs.files import write_graph_files
from llm4grn.evaluation.graphs.predictive_score import FILE
from llm4grn.evaluation.graphs.predictive_table import score_table
from llm4grn.evaluation.graphs.real_cells import STAGES
from llm4grn.evaluation.graphs.reference import file_label, load_reference, reference_among, score_against
from llm4grn.evaluation.graphs.signs import sign_agreement, sign_text
from llm4grn.knowledge.none import NoPriorList
from llm4grn.llm.audit import audit_text
from llm4grn.pipeline import Pipeline
from llm4grn.report.terminal import to_terminal
from llm4grn.store import Store, atomic_write, copy_file

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("llm4grn")


def infer_grn(cfg: DictConfig) -> Path | None:
    """Infer the network of a setting, and return the folder of its files; None for ``llm.dry_run``."""
    setting, store = build_setting(cfg), Store(Path(cfg.paths.store))
    pipeline = Pipeline(setting, store)
    if cfg.llm.get("dry_run"):
        print("\n".join(pipeline.previews()) or "No language model takes part: nothing would be asked.")
        return None
    references = _references(cfg, pipeline)
    if report := setting.kb.report(pipeline.genes):
        logger.info(report)
    tfs, graph = pipeline.tf_set, pipeline.causal_graph
    folder = Path(cfg.paths.outputs) / f"grn_{setting.name}_{pipeline.graph.key[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {"ranked edges": (pipeline.grn, "grn.tsv"), "imposed graph": (pipeline.graph, "graph.json")}
    files["TFs"] = pipeline.tfs, "tfs.json"
    for stage, file in files.values():
        copy_file(store.path(stage) / file, folder / file)
    paths = {label: folder / file for label, (_, file) in files.items()}
    names = {"dataset": setting.dataset.name, "method": setting.inferer_name}
    paths |= write_graph_files(pipeline.inferred_grn, graph, folder, **names)
    keys = {"data": pipeline.data, "tfs": pipeline.tfs, "grn": pipeline.grn, "graph": pipeline.graph}
    with atomic_write(folder / STAGES) as path:  # comparisons find the cells by it
        path.write_text(json.dumps({name: stage.key for name, stage in keys.items()}, indent=1) + "\n")
    with atomic_write(folder / "config.yaml") as path:  # labels this graph in comparisons
        OmegaConf.save(OmegaConf.create(resolved(cfg)), path)
    paths["configuration"] = folder / "config.yaml"

    print(f"\n{len(tfs.names)} TFs among {len(graph.genes)} genes: {_shorten(tfs.names)}\n")
    for key, value in graph.summary().items():
        print(f"{key:24} {value:.4f}" if isinstance(value, float) else f"{key:24} {value}")
    if (score := pipeline.predictive_score) is not None:
        score.write(folder / FILE)
        paths["score of each target"] = folder / FILE
        print(f"\n{to_terminal(score_table(score))}", end="")
        if warning := score.warning():
            print(f"\nNote: {warning}.")
    print(f"\n{audit_text(pipeline.audits())}", end="")
    if pipeline.inferred_grn.signs is not None:
        print(sign_text(pipeline.inferred_grn, _sign_agreement(pipeline, references)))
    for name, reference in references.items():
        written = _score(pipeline, reference, name, folder)
        which = f", {file_label(name)}" if len(references) > 1 else ""
        paths |= {f"{what}{which}": path for what, path in written.items()}
    for label, path in paths.items():
        print(f"{label:24} {path}")
    return folder


def _references(cfg: DictConfig, pipeline: Pipeline) -> dict[str, pd.DataFrame]:
    """Return the edges of each reference, one or a list, by its name, under the names that the genes have in the data.

    They are loaded before the inference, which can take hours, so that a wrong path is reported at once.
    """
    given = cfg.reference if OmegaConf.is_list(cfg.reference) else [cfg.reference]
    names = dict.fromkeys(str(name) for name in given if name is not None)
    loaded = {name: load_reference(name, pipeline.setting.dataset.source, cfg.paths.data) for name in names}
    aliases, organism = bool(cfg.dataset.get("aliases")), cfg.dataset.organism
    for name, edges in loaded.items():
        loaded[name], line = reference_among(edges, pipeline.genes, organism, aliases=aliases, name=name)
        logger.info(line)
    return loaded


def _sign_agreement(pipeline: Pipeline, references: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare the signs of the network with those of correlations and of each reference."""
    import pandas as pd

    grn = pipeline.inferred_grn
    with_cells = sign_agreement(grn, pipeline.split("train"))
    with_each = [sign_agreement(grn, None, reference, name=name) for name, reference in references.items()]
    return pd.concat([table for table in (with_cells, *with_each) if len(table)] or [with_cells], ignore_index=True)


def _score(pipeline: Pipeline, reference: pd.DataFrame, name: str, folder: Path) -> dict[str, Path]:
    """Print and write the scores of the network against a reference; return the files, by what they hold."""
    genes, grn, setting = pipeline.causal_graph.genes, pipeline.inferred_grn, pipeline.setting
    candidates = None if isinstance(setting.kb, NoPriorList) else pipeline.tf_set.names
    scores = score_against(grn, reference, genes, candidates, name=name, seed=setting.seed)
    print(f"{scores.text()}\n")
    paths, label = scores.write(folder), file_label(name)
    confirmed = calibration(grn, reference, genes, candidates)
    for what, table, file in (
        ("reference edges", reference, f"reference_{label}.tsv"),
        ("share confirmed by rank", confirmed, f"calibration_{label}.tsv"),
    ):
        with atomic_write(folder / file) as path:
            table.to_csv(path, sep="\t", index=False, lineterminator="\n")
        paths[what] = folder / file
    return paths


def _shorten(names: tuple[str, ...], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (f", ... ({len(names) - limit} more)" if len(names) > limit else "")


def main() -> None:
    """Run ``python infer_grn.py``."""
    run(infer_grn, "infer_grn")
