"""Weights & Biases: one run per setting, offline unless a key is there."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llm4grn.errors import UserError
from llm4grn.results import COLUMNS
from llm4grn.tracking.base import LiveTracker, Outcome, RunInfo

logger = logging.getLogger("llm4grn")

STEP = "trainer/global_step"  # as Lightning's own logger calls it
INIT_TIMEOUT = 30.0  # seconds for the server to answer, before the run is kept offline


def prepare_wandb(mode: str, folder: Path) -> str:
    """Set in the environment what W&B reads there, where the user has not; whether it goes ``online`` or ``offline``.

    Parameters
    ----------
    mode
        ``online``, ``offline`` or ``auto``.
    folder
        Of the runs that are kept here.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")  # else WANDB_MODE=online asks for a key on a terminal
    # Tables wait there for their upload; else it would be somewhere in the user's home.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder.absolute()))
    has_key = bool(os.environ.get("WANDB_API_KEY"))
    return os.environ.get("WANDB_MODE") or ("online" if has_key and mode != "offline" else "offline")


class WeightsAndBiases(LiveTracker):
    """Weights & Biases, offline unless a key is in the environment, and never with a question.

    Parameters
    ----------
    project, entity
        Where the run appears.
    mode
        ``online``, ``offline``, or ``auto``: online if ``WANDB_API_KEY`` is set. ``WANDB_MODE`` has the last word.

    Notes
    -----
    A run keeps its id for as long as its setting and data are the same, so repeating or resuming a job shows the same
    run. W&B appends nothing to an offline run: what a killed process left is removed, and told again as a whole. The
    group is that of ``WANDB_RUN_GROUP``, which a sweep sets to its name.
    """

    directory = "wandb"

    def __init__(self, project: str = "llm4grn", entity: str | None = None, mode: str = "auto") -> None:
        if mode not in (modes := ("auto", "online", "offline")):
            raise UserError(f"logger.mode={mode}: choose one of {', '.join(modes)}")
        if mode == "online" and not os.environ.get("WANDB_API_KEY"):
            raise UserError("logger.mode=online: WANDB_API_KEY is not set; export it, or use logger.mode=offline")
        super().__init__()
        self.project = project
        self.entity = entity
        self.mode = mode
        self._run = None

    def _open(self, run: RunInfo) -> None:
        import wandb

        mode = prepare_wandb(self.mode, run.folder.parent / self.directory)
        for earlier in (run.folder.parent / self.directory).glob(f"*run-*-{run.id}"):  # offline-run- and run-
            shutil.rmtree(earlier, ignore_errors=True)
        try:
            self._run = self._init(run, mode)
        except wandb.Error as error:
            if mode == "offline":
                raise
            logger.warning("W&B cannot be reached (%s): offline instead", str(error).partition("\n")[0])
            self._run = self._init(run, mode := "offline")
        for stage in "controller", "causal_gan":
            self._run.define_metric(f"{stage}/*", step_metric=STEP)
        logger.info("W&B (%s): %s", mode, self._run.url if mode == "online" else self._run.settings.sync_dir)

    def _init(self, run: RunInfo, mode: str) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            id=run.id,
            name=run.name,
            job_type="train",
            dir=str(run.folder.parent),
            mode=mode,
            tags=[f"{name}:{value}"[:64] for name, value in run.labels.items() if value not in ("", None)],
            config={"setting": _setting(run.labels), "labels": dict(run.labels), **run.config},
            # console=off: the terminal's bars are no part of a run; disable_git: nor is the user's checkout
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, init_timeout=INIT_TIMEOUT
            ),
        )

    def _log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, STEP: step})

    def _show(self, outcome: Outcome) -> None:
        import wandb

        rows = [[getattr(result, name) for name in COLUMNS] for result in outcome.results]
        pictures = {name: wandb.Image(str(path)) for name, path in outcome.pictures.items()}
        self._run.log({"scores": wandb.Table(columns=list(COLUMNS), data=rows), **pictures})
        self._run.summary.update(outcome.summary)

    def _shut(self, complete: bool) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        import wandb

        try:
            run.finish(exit_code=0 if complete else 1)
        except (wandb.Error, OSError):
            with suppress(wandb.Error, OSError):
                wandb.teardown()  # W&B's own process is gone: the next run starts another
            raise


def _setting(labels: Mapping[str, Any]) -> str:
    """What runs that differ in the seed only have in common: to group by.

    Examples
    --------
    >>> _setting({"dataset": "pbmc3k", "kb": "human", "inferer": "grnboost2", "llm": "", "seed": 1000})
    'pbmc3k / human / grnboost2'
    """
    return " / ".join(str(value) for name, value in labels.items() if name != "seed" and value not in ("", None))
