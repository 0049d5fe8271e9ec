"""Scores against the validation cells during a training, and the weights with the best score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from llm4grn.evaluation.scores.score import score
from llm4grn.gan.adversarial import AdversarialModule
from llm4grn.gan.callbacks import Record, is_due
from llm4grn.gan.monitor import evaluating
from llm4grn.metrics.registry import METRICS, PAPER_METRICS
from llm4grn.runtime.seeding import derive_seed

VALIDATION = "validation.csv"


class Validation(Record):
    """Records the paper's metrics and ``validation_metric`` every ``validate_every`` steps and at the last one.

    As many cells are generated as there are validation cells. Their noise is the same each time, so that scores differ
    by the weights only, and it has its own random generator, so that validation does not change the training.

    Parameters
    ----------
    module, path, prefix
        See :class:`Record`.
    cells
        Validation cells with equal library size, shape ``(n_cells, n_genes)``.

    Attributes
    ----------
    best
        ``step``, ``score`` (the shortfall from the metric's optimum) and, if ``checkpoint=best``, ``weights`` of the
        generator with the lowest shortfall.
    """

    def __init__(self, module: AdversarialModule, path: Path, prefix: str, cells: Tensor) -> None:
        super().__init__(module, path, f"{prefix}/validation")
        self.cells = cells.cpu().numpy()
        self.best: dict[str, Any] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = self.module
        if not is_due(module, module.hyper.validate_every):
            return
        with evaluating(module):
            generated = module.generate(len(self.cells), derive_seed(module.seed, "validation")).numpy()
        metric = module.hyper.validation_metric
        names = list(dict.fromkeys([*PAPER_METRICS, metric]))
        values = score(self.cells, generated, derive_seed(module.seed, "validation"), names, str(module.device))
        self.add(trainer, module.steps_done, values)
        shortfall = METRICS[metric].shortfall(values[metric])
        if not self.best or shortfall < self.best["score"]:
            self.best = {"step": module.steps_done, "score": shortfall}
            if module.hyper.checkpoint == "best":
                weights = module.generator.state_dict()
                self.best["weights"] = {name: tensor.to("cpu", copy=True) for name, tensor in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best = dict(state_dict["best"])


def load_best(module: AdversarialModule, checkpoint: Path) -> int:
    """Load the best weights in a finished training's checkpoint into the generator, and return their step."""
    callbacks = torch.load(checkpoint, weights_only=True, map_location="cpu")["callbacks"]
    best = callbacks[Validation.__qualname__]["best"]
    module.generator.load_state_dict(best["weights"])
    return best["step"]
