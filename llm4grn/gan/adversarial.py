"""What the training of both stages shares: batches, learning rates, and the loop of one generator step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader

from llm4grn.gan.hyperparameters import AdversarialHyperparameters
from llm4grn.gan.losses import CriticLoss, critic_backward
from llm4grn.seeding import derive_seed

#: Generator steps per Lightning epoch: losses are read from the device, and checkpoints considered, this often.
STEPS_PER_EPOCH = 25

#: Untrained cells by which a preconditioned generator is set to the genes' own distributions.
CELLS_TO_START = 1024


class AdversarialModule(pl.LightningModule, ABC):
    """A WGAN-GP under manual optimisation.

    Everything random about step ``i`` follows from ``(seed, i)``, and everything scheduled from ``i``, so a checkpoint
    holds weights, optimizer states and the step, and a resumed run is the undisturbed one.

    Lightning's own unit here is an "epoch" of one batch, which is a range of generator steps: its ``global_step`` would
    count every optimizer step of every network, so the module keeps its own count in ``steps_done``. Of the
    last epoch it keeps the mean ``losses`` and, still on the device, ``losses_of_steps``.

    Parameters
    ----------
    cells
        Real training cells with equal library size, shape ``(n_cells, n_genes)``.
    hyperparameters
        Of this stage.
    seed
        Of this stage: initial weights, batches and noise follow from it.
    """

    def __init__(self, cells: Tensor, hyperparameters: AdversarialHyperparameters, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.hyper = hyperparameters
        self.seed = seed
        self.steps_done = 0
        self.losses: dict[str, float] = {}
        self.losses_of_steps: list[tuple[int, dict[str, Tensor]]] = []
        self.register_buffer("cells", cells, persistent=False)
        if hyperparameters.preconditioned and len(cells):
            self.register_buffer("center", cells.mean(dim=0), persistent=False)
            self.register_buffer("scale", cells.var(dim=0).sum().sqrt(), persistent=False)
        self._permutations: dict[int, Tensor] = {}

    @abstractmethod
    def networks(self) -> Mapping[str, tuple[Iterable[nn.Parameter], tuple[float, float]]]:
        """Parameters and (first, last) learning rate of each network that has an optimizer, by name."""

    @abstractmethod
    def noise(self, n_cells: int, random: torch.Generator) -> Any:
        """All that is random about ``n_cells`` generated cells."""

    @abstractmethod
    def train_one_step(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """All updates of one generator step on one batch of real cells; returns the losses as scalars on the device."""

    # -- what Lightning calls ------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[Optimizer]:
        return [
            AdamW(
                list(parameters),
                lr=lr[0],
                betas=tuple(self.hyper.betas),
                weight_decay=self.hyper.weight_decay,
                amsgrad=self.hyper.amsgrad,
                fused=True,
            )
            for parameters, lr in self.networks().values()
        ]

    def train_dataloader(self) -> DataLoader:
        """The numbers of the next generator steps, as one batch."""
        steps = range(self.steps_done, min(self.steps_done + STEPS_PER_EPOCH, self.hyper.last_step))
        return DataLoader(steps, batch_size=STEPS_PER_EPOCH)

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        return batch  # step numbers are read by the host

    def training_step(self, steps: Tensor, batch_idx: int) -> None:
        optimizers = self.optimizers(use_pl_optimizer=False)
        self.optimizer = dict(zip(self.networks(), optimizers, strict=True))
        random = torch.Generator(self.device)
        totals: dict[str, Tensor] = {}
        self.losses_of_steps = []
        for step in steps.tolist():
            for name, (_, lr) in self.networks().items():
                for group in self.optimizer[name].param_groups:
                    group["lr"] = self.hyper.learning_rate(lr, step)
            random.manual_seed(derive_seed(self.seed, "step", step))
            losses = self.train_one_step(self.batch(step), random)
            self.losses_of_steps.append((step, losses))
            for name, loss in losses.items():
                totals[name] = totals[name] + loss if name in totals else loss
        self.steps_done += len(steps)
        self.losses = {name: total.item() / len(steps) for name, total in totals.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["steps_done"] = self.steps_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps_done = checkpoint["steps_done"]

    # -- what both stages do alike -------------------------------------------------------------------------------

    def as_judged(self, cells: Tensor) -> Tensor:
        """Cells as critic and labelers see them: in counts or, preconditioned, with mean 0 and total variance 1."""
        return (cells - self.center) / self.scale if self.hyper.preconditioned else cells

    def critic_updates(self, real: Tensor, random: torch.Generator) -> CriticLoss:
        """All steps of the critic within one generator step, on the same real cells (as judged).

        The generator stands still meanwhile, so it makes the cells of all of them at once; no gradient enters it.
        """
        n, updates = len(real), self.hyper.critic_updates
        noise = self.noise(n * updates, random)
        epsilons = torch.rand(updates, n, 1, generator=random, device=random.device)
        with torch.no_grad():
            fakes = self.as_judged(self(noise, batch_size=n)).split(n)
        for fake, epsilon in zip(fakes, epsilons, strict=True):
            loss = self.critic_update(real, fake, epsilon)
        return loss

    def critic_update(self, real: Tensor, fake: Tensor, epsilon: Tensor) -> CriticLoss:
        """One step of the critic."""
        dtype = torch.bfloat16 if self.hyper.precision == "bfloat16" else None
        loss = critic_backward(self.critic, real, fake, epsilon, self.hyper.penalty_weight, dtype)
        self.optimizer["critic"].step()
        return loss

    def products(self) -> torch.autocast:
        """Where gradients go through critic and labelers: the precision asked for holds for their products."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.hyper.precision == "bfloat16")

    # -- data ----------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> Tensor:
        """The real cells of a step: consecutive slices of an endless row of shuffled passes through the data."""
        n, size = len(self.cells), self.hyper.batch_size
        first = step * size
        parts = []
        while size > 0:
            shuffle, offset = divmod(first, n)
            part = self._permutation(shuffle)[offset : offset + size]
            parts.append(part)
            first, size = first + len(part), size - len(part)
        return self.cells[torch.cat(parts) if len(parts) > 1 else parts[0]]

    def _permutation(self, shuffle: int) -> Tensor:
        if shuffle not in self._permutations:
            random = torch.Generator().manual_seed(derive_seed(self.seed, "shuffle", shuffle))
            order = torch.randperm(len(self.cells), generator=random).to(self.cells.device)
            self._permutations = {k: v for k, v in self._permutations.items() if k >= shuffle - 1} | {shuffle: order}
        return self._permutations[shuffle]
