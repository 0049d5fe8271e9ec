"""What the training of both stages shares: batches, learning rates, and the loop of one generator step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader

from llm4grn.gan.distributed import n_ranks, share, sum_over_ranks
from llm4grn.gan.hyperparameters import AdversarialHyperparameters
from llm4grn.gan.losses import CriticLoss, critic_gradients
from llm4grn.gan.marginals import Marginals, rectified_gaussians
from llm4grn.gan.training_cells import Cells, DenseCells
from llm4grn.runtime.seeding import derive_seed

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

    On several devices (:mod:`llm4grn.gan.distributed`) each rank draws the noise of the whole batch and generates
    all of it, which costs next to nothing and leaves BatchNorm of the generators as it is; critic and labelers see this
    rank's share of the cells. Losses are sums over that share divided by the size of the whole batch, so gradients and
    losses need no more than to be summed over the ranks.

    Parameters
    ----------
    cells
        Real training cells with equal library size, shape ``(n_cells, n_genes)`` if they are a tensor.
    hyperparameters
        Of this stage.
    seed
        Of this stage: initial weights, batches and noise follow from it.

    Attributes
    ----------
    compiled
        Whether a training under Lightning goes through :mod:`llm4grn.gan.adversarial`.
    """

    #: Methods without side effects on gradients or optimizers, which torch.compile takes as they are.
    parts: tuple[str, ...] = ("generated", "critic_gradients", "generator_loss")

    def __init__(self, cells: Cells | Tensor, hyperparameters: AdversarialHyperparameters, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.compiled = False
        self.hyper = hyperparameters
        self.seed = seed
        self.steps_done = 0
        self.losses: dict[str, float] = {}
        self.losses_of_steps: list[tuple[int, dict[str, Tensor]]] = []
        self.cells = cells if isinstance(cells, Cells) else DenseCells(cells)
        if hyperparameters.preconditioned and len(self.cells):
            center, variance = self.cells.per_gene(lambda some: torch.stack([some.mean(dim=0), some.var(dim=0)]))
            self.register_buffer("center", center.clone(), persistent=False)
            self.register_buffer("scale", variance.sum().sqrt(), persistent=False)
        self._permutations: dict[int, Tensor] = {}
        self._step: CapturedStep | None = None

    @abstractmethod
    def networks(self) -> Mapping[str, tuple[Iterable[nn.Parameter], tuple[float, float]]]:
        """Parameters and (first, last) learning rate of each network that has an optimizer, by name."""

    @abstractmethod
    def noise(self, n_cells: int, random: torch.Generator) -> Any:
        """All that is random about ``n_cells`` generated cells."""

    @abstractmethod
    def generator_loss(self, noise: Any) -> Tensor:
        """What the generator lowers, on this rank's share of the cells from ``noise``."""

    @abstractmethod
    def train_one_step(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """All updates of one generator step; returns this rank's terms of the losses, as scalars on the device.

        Parameters
        ----------
        real
            This rank's share of the real cells.
        random
            Of the step, the same on all ranks.
        """

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
                capturable=self.device.type == "cuda",
            )
            for parameters, lr in self.networks().values()
        ]

    def train_dataloader(self) -> DataLoader:
        """The numbers of the next generator steps, as one batch."""
        steps = range(self.steps_done, min(self.steps_done + STEPS_PER_EPOCH, self.hyper.last_step))
        return DataLoader(steps, batch_size=STEPS_PER_EPOCH)

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        return batch  # step numbers are read by the host

    def on_train_start(self) -> None:
        self.start(dict(zip(self.networks(), self.optimizers(use_pl_optimizer=False), strict=True)))

    def start(self, optimizers: Mapping[str, Optimizer]) -> None:
        """Take the optimizers, by network, and get ready for :meth:`take_step`."""
        self.optimizer = dict(optimizers)
        captured = self.compiled and self.device.type == "cuda" and n_ranks() == 1
        self._step = CapturedStep(self) if captured else None
        for optimizer in self.optimizer.values():
            for group in optimizer.param_groups:  # those of a checkpoint may come from another device
                group["capturable"] = self.device.type == "cuda"
                # a graph reads the learning rate where it stood when it was captured
                group["lr"] = torch.tensor(float(group["lr"]), device=self.device) if captured else float(group["lr"])
        if self.compiled:
            compile_parts(self, self.parts)
        self._random = torch.Generator(self.device)

    def take_step(self, step: int) -> dict[str, Tensor]:
        """Generator step ``step``: its learning rates, its random stream, its batch, its updates."""
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

    # -- what both stages do alike -------------------------------------------------------------------------------

    def as_judged(self, cells: Tensor) -> Tensor:
        """Cells as critic and labelers see them: in counts or, preconditioned, with mean 0 and total variance 1."""
        return (cells - self.center) / self.scale if self.hyper.preconditioned else cells

    def generated(self, noise: Any, batch_size: int | None = None) -> Tensor:
        """Cells from noise as critic and labelers see them; BatchNorm takes ``batch_size`` of them as one batch."""
        return self.as_judged(self(noise, batch_size=batch_size))

    def marginals(self) -> Marginals:
        """The distribution of each gene in the training cells."""

        def of(cells: Tensor) -> Tensor:
            found = rectified_gaussians(cells)
            return torch.stack([found.offset, found.unit])

        return Marginals(*self.cells.per_gene(of))

    def critic_updates(self, real: Tensor, random: torch.Generator) -> CriticLoss:
        """All steps of the critic within one generator step, on the same real cells (as judged).

        The generator stands still meanwhile, so it makes the cells of all of them at once; no gradient enters it.
        """
        n, updates = self.hyper.batch_size, self.hyper.critic_updates
        noise = self.noise(n * updates, random)
        epsilons = torch.rand(updates, n, 1, generator=random, device=random.device)
        with torch.no_grad():
            fakes = self.generated(noise, n).split(n)
        mine = share(n)
        for fake, epsilon in zip(fakes, epsilons, strict=True):
            loss = self.critic_update(real, fake[mine], epsilon[mine])
        return loss

    def critic_update(self, real: Tensor, fake: Tensor, epsilon: Tensor) -> CriticLoss:
        """One step of the critic."""
        loss, gradients = self.critic_gradients(real, fake, epsilon)
        for parameter, gradient in zip(self.critic.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.apply_gradients("critic")
        return loss

    def critic_gradients(self, real: Tensor, fake: Tensor, epsilon: Tensor) -> tuple[CriticLoss, list[Tensor]]:
        """This rank's terms of the critic's losses and gradients."""
        dtype = torch.bfloat16 if self.hyper.precision == "bfloat16" else None
        weight, n = self.hyper.penalty_weight, self.hyper.batch_size
        return critic_gradients(self.critic, real, fake, epsilon, weight, dtype, n)

    def apply_gradients(self, name: str) -> None:
        """One step of the optimizer of a network, on the sum of the gradients of all ranks."""
        optimizer = self.optimizer[name]
        sum_over_ranks([weights.grad for group in optimizer.param_groups for weights in group["params"]])
        optimizer.step()

    def products(self) -> torch.autocast:
        """Where gradients go through critic and labelers: the precision asked for holds for their products."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.hyper.precision == "bfloat16")

    # -- data ----------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> Tensor:
        """This rank's share of the real cells of a step."""
        cells = self.cells.rows(self._numbers(step))
        if step + 1 < self.hyper.last_step:
            self.cells.prefetch(self._numbers(step + 1))
        return cells

    def _numbers(self, step: int) -> Tensor:
        """Of the real cells of a step: consecutive slices of an endless row of shuffled passes through the data."""
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
            order = torch.randperm(len(self.cells), generator=random).to(self.cells.index_device)
            self._permutations = {k: v for k, v in self._permutations.items() if k >= shuffle - 1} | {shuffle: order}
        return self._permutations[shuffle]


#: Of torch.compile; its compilations are most of a small test.
BACKEND = "inductor"
#: Steps before a graph is captured: what compiles, allocates or measures at its first call has then done so.
_WARM_UP = 3


def compile_parts(module: AdversarialModule, names: Sequence[str]) -> None:
    """Put compiled functions in the place of these methods of ``module``; shapes never change in a training."""
    for name in names:
        method = getattr(type(module), name).__get__(module)
        setattr(module, name, torch.compile(method, backend=BACKEND, dynamic=False))


class CapturedStep:
    """``train_one_step`` as a CUDA graph.

    The first steps run as they are; then one is captured, and from there on each step copies its batch to where the
    graph reads it and replays the graph. The graph draws its random numbers by the seed that ``random`` has at that
    time, and reads the learning rates from tensors, so a step is the same at any time and after any resume.
    """

    def __init__(self, module: AdversarialModule) -> None:
        self.module = module
        self.n_steps = 0

    def __call__(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        self.n_steps += 1
        if self.n_steps <= _WARM_UP:
            return self._on_side_stream(real, random)
        if self.n_steps == _WARM_UP + 1:
            self._capture(real, random)
        self.real.copy_(real)
        self.graph.replay()
        return {name: loss.clone() for name, loss in self.losses.items()}

    def _on_side_stream(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        # where capturing happens, so that the allocator and the libraries have met the stream's work
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            losses = self.module.train_one_step(real, random)
        main.wait_stream(side)
        return losses

    def _capture(self, real: Tensor, random: torch.Generator) -> None:
        self.real = real.clone()
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(random)
        with torch.cuda.graph(self.graph):
            self.losses = self.module.train_one_step(self.real, random)
