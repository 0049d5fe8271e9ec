"""Runs a module under Lightning: checkpoints to resume from, losses on disk, one progress bar."""

from __future__ import annotations

import csv
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from llm4grn.errors import UserError
from llm4grn.gan.adversarial import STEPS_PER_EPOCH, AdversarialModule
from llm4grn.progress import progress
from llm4grn.store import atomic_write

CHECKPOINT = "last.ckpt"
LOSSES = "losses.csv"


class StepProgress(pl.Callback):
    """One bar in generator steps, with rate, ETA and the latest losses."""

    def __init__(self, description: str) -> None:
        self.description = description

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        total, done = module.hyper.steps, module.steps_done
        self.bar = progress(total=total, initial=done, desc=self.description, unit="step")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.bar.set_postfix({name: f"{loss:.3g}" for name, loss in module.losses.items()}, refresh=False)
        self.bar.update(module.steps_done - self.bar.n)

    def teardown(self, trainer: pl.Trainer, module: AdversarialModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


class LossHistory(pl.Callback):
    """Mean losses of every few steps: in the checkpoint, so that a resumed run has them all, and in a CSV file.

    Parameters
    ----------
    path
        The CSV file, written at every checkpoint.
    prefix
        Of the names that the loggers get.
    """

    def __init__(self, path: Path, prefix: str) -> None:
        self.path = path
        self.prefix = prefix
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.rows.append({"step": module.steps_done, **module.losses})
        named = {f"{self.prefix}/{name}": loss for name, loss in module.losses.items()}
        for logger in trainer.loggers:
            logger.log_metrics(named, step=module.steps_done)
        wrong = [name for name, loss in module.losses.items() if not math.isfinite(loss)]
        if wrong:
            raise UserError(
                f"{self.prefix} diverged before step {module.steps_done}: {wrong[0]} is not finite; lower the learning "
                f"rates of model.{self.prefix} (generator_lr, critic_lr) or raise its batch_size"
            )

    def write(self) -> None:
        with atomic_write(self.path) as path, path.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            table.writeheader()
            table.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class Checkpoint(pl.Callback):
    """Saves everything that the rest of the training depends on, every so often, whole or not at all.

    Lightning's own ModelCheckpoint counts optimizer steps, which here are many per generator step.
    """

    def __init__(self, path: Path, every_seconds: float, history: LossHistory) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self.history = history

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        done = module.steps_done == module.hyper.steps
        if not done and time.monotonic() - self.saved_at < self.every_seconds:
            return
        self.history.write()
        with atomic_write(self.path) as path:
            trainer.save_checkpoint(path, weights_only=False)
        self.saved_at = time.monotonic()


def fit(
    module: AdversarialModule,
    folder: Path,
    name: str,
    trainer: Mapping[str, Any],
    loggers: Sequence[Logger] = (),
    checkpoint_every: float = 20.0,
) -> None:
    """Train ``module`` to its last step, resuming from ``folder`` if it was begun there.

    Parameters
    ----------
    module
        A stage, fresh from its constructor.
    folder
        Gets ``losses.csv`` and, while training runs, ``last.ckpt``.
    name
        Of the stage, for the bar, the loggers and the messages: also its node below ``model`` in the config.
    trainer
        Arguments of ``pytorch_lightning.Trainer``: accelerator, devices, precision.
    loggers
        Lightning loggers that get the losses while they come.
    checkpoint_every
        Seconds between checkpoints.

    Raises
    ------
    UserError
        If a loss is no longer finite.
    """
    checkpoint = folder / CHECKPOINT
    history = LossHistory(folder / LOSSES, name)
    epochs = math.ceil(module.hyper.steps / STEPS_PER_EPOCH)
    lightning = pl.Trainer(
        **trainer,
        max_epochs=epochs,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        logger=list(loggers) or False,
        callbacks=[history, Checkpoint(checkpoint, checkpoint_every, history), StepProgress(name)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    # Lightning's advice is about data loaders; here one hands out step numbers.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    resume = checkpoint if checkpoint.exists() else None
    lightning.fit(module, ckpt_path=resume, weights_only=True)
    checkpoint.unlink()
