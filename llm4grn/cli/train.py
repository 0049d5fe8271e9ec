"""Run the whole pipeline for one setting: counts, TFs, GRN, causal graph, causal GAN, synthetic cells, scores."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from llm4grn.cli.config import build_setting, command, instantiate, resolved, trainer_arguments
from llm4grn.cli.main import run
from llm4grn.cli.program import command_text
from llm4grn.cli.sweep import is_job
from llm4grn.errors import UserError
from llm4grn.llm.audit import audit_text
from llm4grn.run import Run
from llm4grn.store import Store


def train(cfg: DictConfig) -> Path:
    """Compute a setting, print its table, and return the folder of the run."""
    if cfg.llm.get("dry_run"):
        raise UserError(
            f"llm.dry_run=true: a training has no preview; type the same options after {command_text('infer_grn')}"
        )
    run = Run(
        setting=build_setting(cfg),
        store=Store(Path(cfg.paths.store)),
        outputs=Path(cfg.paths.outputs),
        trainer=trainer_arguments(cfg),
        tracker=instantiate(cfg.logger),
        config=resolved(cfg),
        command=command(),
    )
    results = run.execute()
    table = run.table(results, explained=not is_job())  # a sweep explains its one table instead
    print(f"\n{table}\n{audit_text(run.pipeline.audits())}", end="")
    for name in "tsne.png", "losses.png", "report.md", "results.csv":
        print(f"{name:12} {run.folder / name}")
    return run.folder


def main() -> None:
    """Run ``python train.py``."""
    run(train, "train")
