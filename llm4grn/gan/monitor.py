"""Has the generator collapsed? A cheap look at some generated cells every so often; the verdict is in ``collapse``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor

from llm4grn.gan.adversarial import AdversarialModule
from llm4grn.gan.callbacks import Record, is_due
from llm4grn.gan.causal_gan import Noise
from llm4grn.gan.networks import normalise_library_size
from llm4grn.runtime.seeding import derive_seed

#: About how many generated cells a look takes, in whole batches, and at most how many real ones.
CELLS_PER_LOOK = 1024
#: A gene counts as expressed if this many of the generated cells should express it: none then is no chance (e^-10).
EXPECTED_CELLS = 10


@dataclass(frozen=True)
class Reference:
    """What generated cells are held against, read off the training cells once.

    Attributes
    ----------
    mean
        The mean cell, shape ``(n_genes,)``.
    variance
        Total over the genes.
    expressed
        Share of the cells that express a gene, shape ``(n_genes,)``.
    n_cells
        How many they are.
    judged
        Some of them, as critic and labelers see cells, shape ``(n, n_genes)``.
    """

    mean: Tensor
    variance: Tensor
    expressed: Tensor
    n_cells: int
    judged: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, module: AdversarialModule) -> Reference:
        """The reference of a stage's own training cells."""
        cells = module.cells
        some = torch.linspace(0, len(cells) - 1, min(len(cells), CELLS_PER_LOOK), device=cells.index_device).long()
        mean = cells.per_gene(lambda values: values.mean(dim=0, dtype=torch.float64))
        expressed = cells.per_gene(lambda values: (values > 0).double().mean(dim=0))
        variance = cells.per_gene(lambda values: values.var(dim=0).double()).sum()
        return cls(mean, variance, expressed, len(cells), module.as_judged(cells.rows(some)))


class CollapseMonitor(Record):
    """Measures of :func:`look` and the gradient penalty, every ``monitor_every`` steps and at the last."""

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.reference = Reference.of(module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if is_due(module, module.hyper.monitor_every):
            measures = look(module, self.reference, derive_seed(module.seed, "monitor", module.steps_done))
            self.add(trainer, module.steps_done, measures | {"gradient_penalty": module.losses["gradient_penalty"]})


@torch.no_grad()
def look(module: AdversarialModule, reference: Reference, seed: int) -> dict[str, float]:
    """Compare generated with training cells; networks and random streams of the training are left as they are.

    Parameters
    ----------
    module
        A stage.
    reference
        Of its training cells.
    seed
        Of the noise.

    Returns
    -------
    dead_genes
        Share of the expressed genes that no generated cell expresses.
    empty_cells
        Share of generated cells without expression.
    library_size
        Mean sum of a generated cell before it is scaled, relative to the library size.
    centroid_distance
        Of the mean generated from the mean training cell, relative to what is expected of as many real cells:
        the root of V (1/n + 1/N), with n generated and N training cells of total variance V.
    critic_gap
        Mean score of real minus mean score of generated cells, relative to the standard deviation within both.
    """
    size = module.hyper.batch_size
    n_cells = size * max(1, round(CELLS_PER_LOOK / size))
    with evaluating(module):
        noise = module.noise(n_cells, torch.Generator(module.device).manual_seed(seed))
        unscaled, library_size = _unscaled(module, noise)
        cells = normalise_library_size(unscaled, library_size)
        scores = [module.critic(judged).double() for judged in (reference.judged, module.as_judged(cells))]
    is_expressed = reference.expressed * n_cells >= EXPECTED_CELLS
    is_dead = ~(cells > 0).any(dim=0)
    totals = unscaled.sum(dim=1, dtype=torch.float64)
    expected = (reference.variance * (1 / n_cells + 1 / reference.n_cells)).sqrt()
    within = (sum(score.var() for score in scores) / 2).sqrt()
    measures = {
        "dead_genes": (is_dead & is_expressed).sum() / is_expressed.sum().clamp_min(1),
        "empty_cells": (totals <= 0).double().mean(),
        "library_size": totals.mean() / library_size,
        "centroid_distance": (cells.mean(dim=0, dtype=torch.float64) - reference.mean).norm() / expected,
        "critic_gap": (scores[0].mean() - scores[1].mean()) / within.clamp_min(1e-30),
    }
    # one transfer from the device for all
    return dict(zip(measures, torch.stack([value.double() for value in measures.values()]).tolist(), strict=True))


@contextmanager
def evaluating(module: AdversarialModule) -> Iterator[None]:
    """BatchNorm by running statistics, which stay as they are; afterwards all is as before."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _unscaled(module: AdversarialModule, noise: Noise | Tensor) -> tuple[Tensor, float]:
    """Cells before the library-size layer, and the library size."""
    generator, size = module.generator, module.hyper.batch_size
    if isinstance(noise, Noise):
        roots = generator.controller(noise.controller, size)
        return generator.target_generators(roots, noise.targets, size), generator.library_size
    return generator(noise, size), module.library_size
