"""Run the pipeline up to the causal graph: transcription factors, ranked edges, and the graph to impose."""

from __future__ import annotations

import json
import logging
from pathlib import Path

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

logger = logging.getLogger("llm4grn")


def infer_grn(cfg: DictConfig) -> Path | None:
    """Infer the network of a setting, and return the folder of its files; None for ``llm.dry_run``."""
    setting, store = build_setting(cfg), Store(Path(cfg.paths.store))
    pipeline = Pipeline(setting, store)
    if cfg.llm.get("dry_run"):
        print("\n".join(pipeline.previews()) or "No language model takes part: nothing would be asked.")
        return None
    against = None if cfg.reference is None else str(cfg.reference)
    # Loaded before the inference, which can take hours, so that a wrong path is reported at once.
    reference = None if against is None else load_reference(against, setting.dataset.source, cfg.paths.data)
    if reference is not None and against is not None:
        aliases = bool(cfg.dataset.get("aliases"))
        organism = cfg.dataset.organism
        reference, line = reference_among(reference, pipeline.genes, organism, aliases=aliases, name=against)
        logger.info(line)
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
        agreement = sign_agreement(pipeline.inferred_grn, pipeline.split("train"), reference, name=str(against))
        print(sign_text(pipeline.inferred_grn, agreement))
    if reference is not None and against is not None:
        candidates = None if isinstance(setting.kb, NoPriorList) else tfs.names
        ranked = pipeline.inferred_grn
        scores = score_against(ranked, reference, graph.genes, candidates, name=against, seed=setting.seed)
        print(f"{scores.text()}\n")
        paths |= scores.write(folder)
        confirmed = calibration(ranked, reference, graph.genes, candidates)
        for label, table, name in (
            ("reference edges", reference, f"reference_{file_label(against)}.tsv"),
            ("share confirmed by rank", confirmed, f"calibration_{file_label(against)}.tsv"),
        ):
            with atomic_write(folder / name) as path:
                table.to_csv(path, sep="\t", index=False, lineterminator="\n")
            paths[label] = folder / name
    for label, path in paths.items():
        print(f"{label:24} {path}")
    return folder


def _shorten(names: tuple[str, ...], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (f", ... ({len(names) - limit} more)" if len(names) > limit else "")


def main() -> None:
    """Run ``python infer_grn.py``."""
    run(infer_grn, "infer_grn")
