"""Where a run can be followed and compared: Weights & Biases, TensorBoard, or files only.

Losses always go to ``losses.csv`` in the store and results to ``results.csv`` in the run's folder, whichever is chosen.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class RunInfo:
    """What a tracker shows of a run: a stable id, so that a repeated job is the same run, a name, labels and config."""

    id: str
    name: str
    labels: Mapping[str, Any]
    config: Mapping[str, Any]
    folder: Path


class Tracker(ABC):
    """Follows one run at a time; nothing is started before the first call of :meth:`loggers`."""

    @abstractmethod
    def loggers(self, run: RunInfo) -> Sequence[Logger]:
        """Lightning loggers for the losses of ``run``; the same ones at every call."""

    @abstractmethod
    def finish(self, run: RunInfo, summary: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        """Add the scores and pictures of ``run``."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the run, also after an error, so that the next job of a sweep starts its own."""


class FilesOnly(Tracker):
    """No tracker: the CSV files of store and run folder hold everything."""

    def loggers(self, run: RunInfo) -> Sequence[Logger]:
        return ()

    def finish(self, run: RunInfo, summary: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        return

    def close(self) -> None:
        return


class LightningTracker(Tracker):
    """A tracker that is one Lightning logger, made when it is first needed."""

    _logger: Logger | None = None

    @abstractmethod
    def _start(self, run: RunInfo) -> Logger: ...

    def loggers(self, run: RunInfo) -> Sequence[Logger]:
        if self._logger is None:
            self._logger = self._start(run)
        return (self._logger,)


class TensorBoard(LightningTracker):
    """TensorBoard files in the folder ``tensorboard`` beside the runs."""

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise UserError("logger=tensorboard needs the package tensorboard: pip install tensorboard")

    def _start(self, run: RunInfo) -> Logger:
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(run.folder.parent, name="tensorboard", version=f"{run.name}-{run.id}")

    def finish(self, run: RunInfo, summary: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        (board,) = self.loggers(run)
        board.log_metrics(dict(summary), step=0)

    def close(self) -> None:
        if self._logger is not None:
            self._logger.finalize("success")
        self._logger = None


class WeightsAndBiases(LightningTracker):
    """Weights & Biases, offline unless a key is in the environment, and never with a question.

    Parameters
    ----------
    project, entity
        Where the run appears.
    mode
        ``online``, ``offline``, or ``auto``: online if ``WANDB_API_KEY`` is set. ``WANDB_MODE`` has the last word.
    """

    def __init__(self, project: str = "llm4grn", entity: str | None = None, mode: str = "auto") -> None:
        if mode not in (modes := ("auto", "online", "offline")):
            raise UserError(f"logger.mode={mode}: choose one of {', '.join(modes)}")
        if mode == "online" and not os.environ.get("WANDB_API_KEY"):
            raise UserError("logger.mode=online: WANDB_API_KEY is not set; export it, or use logger.mode=offline")
        self.project = project
        self.entity = entity
        self.mode = mode

    def _start(self, run: RunInfo) -> Logger:
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        has_key = bool(os.environ.get("WANDB_API_KEY"))
        mode = os.environ.get("WANDB_MODE") or ("online" if has_key and self.mode != "offline" else "offline")
        run.folder.mkdir(parents=True, exist_ok=True)
        # console=off: the terminal's bars are no part of a run; disable_git: nor is the user's checkout
        settings = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
        experiment = wandb.init(
            project=self.project,
            entity=self.entity,
            id=run.id,
            name=run.name,
            dir=str(run.folder.parent),
            mode=mode,
            resume="allow" if mode == "online" else None,
            tags=[f"{key}:{value}" for key, value in run.labels.items() if value not in ("", None)],
            config={"labels": dict(run.labels), **run.config},
            settings=settings,
        )
        logger.info("W&B (%s): %s", mode, experiment.url if mode == "online" else experiment.settings.sync_dir)
        return WandbLogger(experiment=experiment)

    def finish(self, run: RunInfo, summary: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        import wandb

        (board,) = self.loggers(run)
        board.experiment.summary.update(dict(summary))
        board.experiment.log({name: wandb.Image(str(path)) for name, path in pictures.items()})

    def close(self) -> None:
        if self._logger is not None:
            import wandb

            wandb.finish()
        self._logger = None
