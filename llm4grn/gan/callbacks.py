"""A table of numbers that grows during a training and survives interruptions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from llm4grn.gan.adversarial import STEPS_PER_EPOCH, AdversarialModule
from llm4grn.store import atomic_write


class Record(pl.Callback):
    """Rows of numbers, kept in the checkpoint so that a resumed run has all of them, and written to a CSV file.

    Parameters
    ----------
    module
        The stage in training. Lightning passes it to every hook, too, but as a plain ``LightningModule``.
    path
        Output CSV path, written at every checkpoint.
    prefix
        Prefix of the metrics' names in the loggers.
    """

    def __init__(self, module: AdversarialModule, path: Path, prefix: str) -> None:
        self.module = module
        self.path = path
        self.prefix = prefix
        self.rows: list[dict[str, float]] = []

    def add(self, trainer: pl.Trainer, step: int, values: dict[str, float]) -> None:
        """Append a row, and send its values to the trainer's loggers."""
        self.rows.append({"step": step, **values})
        metrics = {f"{self.prefix}/{name}": value for name, value in values.items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)

    def write(self) -> None:
        """Write all rows to the CSV file, atomically; without rows, write no file."""
        if not self.rows:
            return
        with atomic_write(self.path) as path, path.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            table.writeheader()
            table.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def is_due(module: AdversarialModule, every: int) -> bool:
    """Return True if the epoch that just ended contains a multiple of ``every`` steps, or the last step."""
    done = module.steps_done
    return done == module.hyper.last_step or done // every > (done - STEPS_PER_EPOCH) // every
