"""A table that grows while a training runs, and outlives its interruptions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from llm4grn.gan.adversarial import STEPS_PER_EPOCH, AdversarialModule
from llm4grn.store import atomic_write


class Record(pl.Callback):
    """Rows of numbers: in the checkpoint, so that a resumed run has them all, and in a CSV file.

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

    def add(self, trainer: pl.Trainer, step: int, values: dict[str, float]) -> None:
        self.rows.append({"step": step, **values})
        named = {f"{self.prefix}/{name}": value for name, value in values.items()}
        for logger in trainer.loggers:
            logger.log_metrics(named, step=step)

    def write(self) -> None:
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
    """Whether a multiple of ``every`` steps, or the last step, lies in the epoch that just ended."""
    done = module.steps_done
    return done == module.hyper.last_step or done // every > (done - STEPS_PER_EPOCH) // every
