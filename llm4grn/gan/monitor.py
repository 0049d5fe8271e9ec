"""Measures of a collapse of the generator during training, on few cells; :mod:`~llm4grn.gan.collapse` judges them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor

from llm4grn.gan.adversarial import AdversarialModule
from llm4grn.gan.callbacks import Record, is_due
from llm4grn.gan.networks import normalise_library_size
from llm4grn.runtime.seeding import derive_seed

#: Approximate number of generated cells per row, in whole batches, and maximum number of real cells.
CELLS_PER_CHECK = 1024
#: Minimum number of generated cells that should express a gene for it to count as expressed: the probability that none
#: does by chance is then about e^-10.
EXPECTED_CELLS = 10


@dataclass(frozen=True)
class Reference:
    """Statistics of the training cells that generated cells are compared with.

    Attributes
    ----------
    mean
        Mean cell, shape ``(n_genes,)``.
    variance
        Total variance over the genes, a scalar.
    expressed
        Fraction of cells that express each gene, shape ``(n_genes,)``.
    n_cells
        Number of training cells.
    critic_input
        Some training cells as critic and labelers see them, shape ``(n, n_genes)``.
    """

    mean: Tensor
    variance: Tensor
    expressed: Tensor
    n_cells: int
    critic_input: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, module: AdversarialModule) -> Reference:
        """Compute the statistics of a stage's own training cells."""
        cells = module.cells
        some = torch.linspace(0, len(cells) - 1, min(len(cells), CELLS_PER_CHECK), device=cells.index_device).long()
        mean = cells.per_gene(lambda values: values.mean(dim=0, dtype=torch.float64))
        expressed = cells.per_gene(lambda values: (values > 0).double().mean(dim=0))
        variance = cells.per_gene(lambda values: values.var(dim=0).double()).sum()
        return cls(mean, variance, expressed, len(cells), module.critic_input(cells.rows(some)))


class CollapseMonitor(Record):
    """Records :func:`collapse_measures` and the gradient penalty every ``monitor_every`` steps and at the last one."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.reference = Reference.of(self.module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = self.module
        if is_due(module, module.hyper.monitor_every):
            measures = collapse_measures(module, self.reference, derive_seed(module.seed, "monitor", module.steps_done))
            self.add(trainer, module.steps_done, measures | {"gradient_penalty": module.losses["gradient_penalty"]})


@torch.no_grad()
def collapse_measures(module: AdversarialModule, reference: Reference, seed: int) -> dict[str, float]:
    """Compare generated with training cells, without changing networks or random numbers of the training.

    Parameters
    ----------
    module
        The stage in training.
    reference
        Statistics of its training cells.
    seed
        Seed for the noise.

    Returns
    -------
    dead_genes
        Fraction of the expressed genes that no generated cell expresses.
    empty_cells
        Fraction of generated cells without any expression.
    library_size
        Mean sum of a generated cell before it is scaled, relative to the library size.
    centroid_distance
        Distance between the mean generated and the mean training cell, relative to the distance expected of as many
        real cells: the root of V (1/n + 1/N), with n generated and N training cells of total variance V.
    critic_gap
        Mean critic score of real minus that of generated cells, relative to the pooled standard deviation of scores.
    """
    size = module.hyper.batch_size
    n_cells = size * max(1, round(CELLS_PER_CHECK / size))
    with evaluating(module):
        random = torch.Generator(module.device).manual_seed(seed)
        unscaled = module.unscaled(module.noise(n_cells, random), size)
        cells = module.observe(normalise_library_size(unscaled, module.library_size), random)
        real_scores = module.critic(reference.critic_input).double()
        generated_scores = module.critic(module.critic_input(cells)).double()
    is_expressed = reference.expressed * n_cells >= EXPECTED_CELLS
    is_dead = ~(cells > 0).any(dim=0)
    totals = unscaled.sum(dim=1, dtype=torch.float64)
    expected = (reference.variance * (1 / n_cells + 1 / reference.n_cells)).sqrt()
    deviation = ((real_scores.var() + generated_scores.var()) / 2).sqrt()
    measures = {
        "dead_genes": (is_dead & is_expressed).sum() / is_expressed.sum().clamp_min(1),
        "empty_cells": (totals <= 0).double().mean(),
        "library_size": totals.mean() / module.library_size,
        "centroid_distance": (cells.mean(dim=0, dtype=torch.float64) - reference.mean).norm() / expected,
        "critic_gap": (real_scores.mean() - generated_scores.mean()) / deviation.clamp_min(1e-30),
    }
    # All measures are transferred from the device at once.
    return dict(zip(measures, torch.stack([value.double() for value in measures.values()]).tolist(), strict=True))


@contextmanager
def evaluating(module: AdversarialModule) -> Iterator[None]:
    """Put all modules into evaluation mode, and restore their modes at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
