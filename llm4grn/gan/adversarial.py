"""The training step that both stages share: batches, learning rates, critic updates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader, Dataset

from llm4grn.gan.compilation import CapturedStep, compile_methods
from llm4grn.gan.distributed import n_ranks, share, sum_over_ranks
from llm4grn.gan.hyperparameters import AdversarialHyperparameters
from llm4grn.gan.losses import CriticLoss, critic_gradients
from llm4grn.gan.marginals import Marginals, rectified_gaussians
from llm4grn.gan.networks import Critics
from llm4grn.gan.observation import ObservableGenerator
from llm4grn.gan.training_cells import Cells, DenseCells
from llm4grn.runtime.seeding import derive_seed

#: Generator steps per Lightning epoch. Losses are read from the device, and checkpoints may be saved, once per epoch.
STEPS_PER_EPOCH = 25
#: Number of untrained cells that a preconditioned generator is initialised with.
INITIAL_CELLS = 1024

#: Functions of counts that give what a critic sees of a cell, by name.
SPACES: Mapping[str, Callable[[Tensor], Tensor]] = {"counts": lambda cells: cells, "log1p": torch.log1p}
#: Parameters and (first, last) learning rate of networks by name.
Networks = Mapping[str, tuple[Iterable[nn.Parameter], Sequence[float]]]


class AdversarialModule(pl.LightningModule, ABC):
    """A WGAN-GP (Gulrajani et al. 2017) under manual optimisation.

    All random numbers of step ``i`` follow from ``(seed, i)``, and all schedules from ``i``. A checkpoint therefore
    holds weights, optimizer states and the step, and a resumed run equals an uninterrupted one.

    A Lightning "epoch" is one batch here, and a batch is a range of generator steps. Lightning's ``global_step`` would
    count every optimizer step of every network, so the module keeps its own count in ``steps_done``.

    On several devices (:mod:`llm4grn.gan.distributed`), each rank draws the noise of the whole batch and generates
    all cells of it, which is cheap and leaves BatchNorm of the generators unchanged; critic and labelers see this
    rank's share of the cells. Losses are sums over that share divided by the size of the whole batch, so summing
    gradients and losses over the ranks gives those of the whole batch.

    Parameters
    ----------
    cells
        Real training cells with equal library size, shape ``(n_cells, n_genes)`` if they are a tensor.
    hyperparameters
        Hyperparameters of this stage.
    library_size
        Total count of every real and generated cell.
    seed
        Seed of this stage, from which initial weights, batches and noise follow.

    Attributes
    ----------
    generator, critic
        The networks; a subclass sets them.
    compiled
        If True, a training under Lightning compiles :attr:`compiled_methods` and, on one GPU, captures a CUDA graph.
    steps_done
        Number of finished generator steps.
    losses
        Mean losses of the last epoch by name.
    losses_of_steps
        Steps and losses of the last epoch, on the device.
    center, scale
        With ``preconditioned``, for each space: the mean of each gene, shape ``(n_spaces, n_genes)``, and the square
        root of the total variance, shape ``(n_spaces, 1)``.
    """

    generator: ObservableGenerator
    critic: Critics
    center: Tensor
    scale: Tensor

    #: Methods without side effects on gradients or optimizers, which torch.compile can take unchanged.
    compiled_methods: tuple[str, ...] = ("fake_cells", "critic_gradients", "generator_loss")

    def __init__(
        self, cells: Cells | Tensor, hyperparameters: AdversarialHyperparameters, library_size: float, seed: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.compiled = False
        self.hyper = hyperparameters
        self.library_size = library_size
        self.seed = seed
        self.steps_done = 0
        self.losses: dict[str, float] = {}
        self.losses_of_steps: list[tuple[int, dict[str, Tensor]]] = []
        self.cells = cells if isinstance(cells, Cells) else DenseCells(cells)
        if hyperparameters.preconditioned and len(self.cells):
            center, variance = self.cells.per_gene(self._moments)
            self.register_buffer("center", center.clone(), persistent=False)
            self.register_buffer("scale", variance.sum(dim=1, keepdim=True).sqrt(), persistent=False)
        self._permutations: dict[int, Tensor] = {}
        self._step: CapturedStep | None = None

    @property
    def spaces(self) -> list[Callable[[Tensor], Tensor]]:
        """Return the functions of counts that give what each critic sees of a cell."""
        return [SPACES[name] for name in self.hyper.critic_spaces]

    @abstractmethod
    def networks(self) -> Networks:
        """Return parameters and (first, last) learning rate of each network that has an optimizer, by name."""

    @abstractmethod
    def noise(self, n_cells: int, random: torch.Generator) -> Any:
        """Draw the noise of ``n_cells`` generated cells."""

    @abstractmethod
    def unscaled(self, noise: Any, batch_size: int | None = None) -> Tensor:
        """Generate cells from noise, before the library-size layer, shape ``(n_cells, n_genes)``.

        BatchNorm takes ``batch_size`` cells as one batch, by default all cells.
        """

    @abstractmethod
    def generate(self, n_cells: int, seed: int) -> Tensor:
        """Generate cells on the device and return them on the CPU, shape ``(n_cells, n_genes)``."""

    @abstractmethod
    def generator_loss(self, noise: Any, random: torch.Generator | None = None) -> Tensor:
        """Compute this rank's term of the generator's loss, on its share of the cells from ``noise``."""

    @abstractmethod
    def train_one_step(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """Make all updates of one generator step, and return this rank's terms of the losses as device scalars.

        Parameters
        ----------
        real
            This rank's share of the real cells, shape ``(n_cells, n_genes)``.
        random
            Random numbers of the step, the same on all ranks.
        """

    # -- hooks of Lightning --------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[Optimizer]:
        first, second = self.hyper.betas
        return [
            AdamW(
                list(parameters),
                lr=lr[0],
                betas=(first, second),
                weight_decay=self.hyper.weight_decay,
                amsgrad=self.hyper.amsgrad,
                fused=True,
                capturable=self.device.type == "cuda",
            )
            for parameters, lr in self.networks().values()
        ]

    def train_dataloader(self) -> DataLoader:
        """Return a loader of one batch: the numbers of the next generator steps."""
        steps = range(self.steps_done, min(self.steps_done + STEPS_PER_EPOCH, self.hyper.last_step))
        return DataLoader(cast("Dataset[int]", steps), batch_size=STEPS_PER_EPOCH)  # any sequence will do

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        return batch  # the host reads the step numbers

    def on_train_start(self) -> None:
        self.start(dict(zip(self.networks(), self.trainer.optimizers, strict=True)))

    def start(self, optimizers: Mapping[str, Optimizer], captured: bool | None = None) -> None:
        """Take the optimizers by network name, and prepare for :meth:`take_step`.

        ``captured`` says whether one GPU runs the step as a CUDA graph; by default, if the step is ``compiled``.
        """
        self.optimizer = dict(optimizers)
        wanted = self.compiled if captured is None else captured
        captured = wanted and self.device.type == "cuda" and n_ranks() == 1
        self._step = CapturedStep(self.train_one_step) if captured else None
        for optimizer in self.optimizer.values():
            for group in optimizer.param_groups:  # a checkpoint may come from another device
                group["capturable"] = self.device.type == "cuda"
                # A CUDA graph reads the learning rate from the memory that it was captured with.
                group["lr"] = torch.tensor(float(group["lr"]), device=self.device) if captured else float(group["lr"])
        if self.compiled:
            compile_methods(self, self.compiled_methods)
        self._random = torch.Generator(self.device)

    def take_step(self, step: int) -> dict[str, Tensor]:
        """Run generator step ``step`` with its learning rates, random numbers and batch, and return its losses."""
        for name, (_, lr) in self.networks().items():
            rate = self.hyper.learning_rate(lr, step)
            for group in self.optimizer[name].param_groups:
                group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate
        self._random.manual_seed(derive_seed(self.seed, "step", step))
        return (self._step or self.train_one_step)(self.batch(step), self._random)

    def training_step(self, steps: Tensor, batch_idx: int) -> None:
        self.losses_of_steps = []
        for step in steps.tolist():
            self.losses_of_steps.append((step, self.take_step(step)))
        sum_over_ranks([loss for _, losses in self.losses_of_steps for loss in losses.values()])
        totals: dict[str, Tensor] = {}
        for _, losses in self.losses_of_steps:
            for name, loss in losses.items():
                totals[name] = totals[name] + loss if name in totals else loss
        self.steps_done += len(steps)
        self.losses = {name: total.item() / len(steps) for name, total in totals.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["steps_done"] = self.steps_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps_done = checkpoint["steps_done"]

    # -- steps of both stages ------------------------------------------------------------------------------------

    def critic_input(self, cells: Tensor) -> Tensor:
        """Return cells as the critics see them, shape ``(n_cells, n_spaces * n_genes)``.

        Each space has all genes in their order. Preconditioned, the genes have mean 0 and each space has total variance
        1.
        """
        return self._scaled([space(cells) for space in self.spaces])

    def _scaled(self, views: Sequence[Tensor]) -> Tensor:
        """Precondition what each space shows of the cells, if at all, and put it side by side."""
        if self.hyper.preconditioned:
            moments = zip(views, self.center, self.scale, strict=True)
            views = [(view - center) / scale for view, center, scale in moments]
        return torch.cat(list(views), dim=1) if len(views) > 1 else views[0]

    def _moments(self, cells: Tensor) -> Tensor:
        """Return mean and variance of each gene in each space, shape ``(2, n_spaces, n_genes)``."""
        views = torch.stack([space(cells) for space in self.spaces])
        return torch.stack([views.mean(dim=1), views.var(dim=1)])

    def fake_cells(self, noise: Any, batch_size: int | None = None, random: torch.Generator | None = None) -> Tensor:
        """Generate the input of critic and labelers; BatchNorm takes ``batch_size`` cells as one batch.

        ``random`` draws the counts of an observation; without one it is not used.
        """
        expected, observation = self(noise, batch_size=batch_size), self.generator.observation
        if observation is None:
            return self.critic_input(expected)
        return self._scaled(observation.views(expected, self.spaces, random))

    def observe(self, expected: Tensor, random: torch.Generator) -> Tensor:
        """Return what is seen of cells, shape ``(n_cells, n_genes)``: counts drawn around them, or the cells."""
        observation = self.generator.observation
        return expected if observation is None else observation(expected, random)

    def learn_depths(self) -> None:
        """Fit the generator's observation to the training cells, if it has one."""
        if self.generator.observation is not None and len(self.cells):  # trained weights bring their own
            self.generator.observation.fit(self.cells)

    def marginals(self) -> Marginals:
        """Fit the distribution of each gene in the training cells."""

        def fit(cells: Tensor) -> Tensor:
            marginals = rectified_gaussians(cells)
            return torch.stack([marginals.offset, marginals.unit])

        return Marginals(*self.cells.per_gene(fit))

    def critic_updates(self, real: Tensor, random: torch.Generator) -> CriticLoss:
        """Make all critic updates of one generator step, and return the last loss.

        The generator does not change meanwhile, so it generates the cells of all updates at once, without gradient.

        Parameters
        ----------
        real
            Real cells of all updates, as returned by :meth:`critic_input`.
        random
            Random numbers of the step.
        """
        n, updates = self.hyper.batch_size, self.hyper.critic_updates
        noise = self.noise(n * updates, random)
        epsilons = torch.rand(updates, n, 1, generator=random, device=random.device)
        with torch.no_grad():
            fakes = self.fake_cells(noise, n, random).split(n)
        own = share(n)
        for fake, epsilon in zip(fakes, epsilons, strict=True):
            loss = self.critic_update(real, fake[own], epsilon[own])
        return loss

    def critic_update(self, real: Tensor, fake: Tensor, epsilon: Tensor) -> CriticLoss:
        """Update the critic once, and return this rank's terms of its losses."""
        loss, gradients = self.critic_gradients(real, fake, epsilon)
        for parameter, gradient in zip(self.critic.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.apply_gradients("critic")
        return loss

    def critic_gradients(self, real: Tensor, fake: Tensor, epsilon: Tensor) -> tuple[CriticLoss, list[Tensor]]:
        """Compute this rank's terms of the critic's losses and gradients, the sums over all spaces."""
        dtype = torch.bfloat16 if self.hyper.precision == "bfloat16" else None
        weight, n = self.hyper.penalty_weight, self.hyper.batch_size
        views = zip(self.critic.of_space, self.critic.views(real), self.critic.views(fake), strict=True)
        parts = [critic_gradients(critic, own, other, epsilon, weight, dtype, n) for critic, own, other in views]
        losses = [torch.stack(terms).sum() for terms in zip(*(loss for loss, _ in parts), strict=True)]
        return CriticLoss(*losses), [gradient for _, gradients in parts for gradient in gradients]

    def apply_gradients(self, name: str) -> None:
        """Step the optimizer of a network, with the gradients summed over all ranks."""
        optimizer = self.optimizer[name]
        sum_over_ranks([weights.grad for group in optimizer.param_groups for weights in group["params"]])
        optimizer.step()

    def autocast(self) -> torch.autocast:
        """Return the autocast context for forward passes of critic and labelers with gradients."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.hyper.precision == "bfloat16")

    # -- data ----------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> Tensor:
        """Return this rank's share of the real cells of a step."""
        cells = self.cells.rows(self._cell_indices(step))
        if step + 1 < self.hyper.last_step:
            self.cells.prefetch(self._cell_indices(step + 1))
        return cells

    def _cell_indices(self, step: int) -> Tensor:
        """Return the indices of this rank's real cells of a step.

        Steps take consecutive slices of an endless sequence of shuffled passes through the data.
        """
        n, size = len(self.cells), self.hyper.batch_size
        first = step * size
        parts = []
        while size > 0:
            shuffle, offset = divmod(first, n)
            part = self._permutation(shuffle)[offset : offset + size]
            parts.append(part)
            first, size = first + len(part), size - len(part)
        return torch.cat(parts)[share(self.hyper.batch_size)]

    def _permutation(self, shuffle: int) -> Tensor:
        if shuffle not in self._permutations:
            random = torch.Generator().manual_seed(derive_seed(self.seed, "shuffle", shuffle))
            order, device = torch.randperm(len(self.cells), generator=random), self.cells.index_device
            if device.type == "cuda":  # from pinned memory, the host need not wait for the GPU
                order = order.pin_memory()
            order = order.to(device, non_blocking=True)
            self._permutations = {k: v for k, v in self._permutations.items() if k >= shuffle - 1} | {shuffle: order}
        return self._permutations[shuffle]
