"""Two training steps of the causal GAN, every loss, gradient and weight, against the same steps in plain torch."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.stats import norm
from target_reference import GRAPHS, reference_cells, reference_networks
from torch.nn import functional as F
from torch.optim import AdamW

from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import CausalGANHyperparameters
from llm4grn.gan.networks import CellGenerator, normalise_library_size
from llm4grn.grn import CausalGraph

LIBRARY_SIZE, N_CELLS = 100.0, 11


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def depths_of(cells: torch.Tensor) -> torch.Tensor:
    """Quantiles of the number of counts of a cell, whose lowest value is as few counts as make all values whole."""

    def n_counts(cell: np.ndarray) -> float:
        in_lowest = cell[cell > 0] / cell[cell > 0].min()
        whole = (k for k in range(1, 33) if np.abs(in_lowest * k - np.rint(in_lowest * k)).max() < 0.02)
        return in_lowest.sum() * next(whole, 1)

    depths = torch.tensor([n_counts(cell) for cell in cells.numpy()])
    return torch.quantile(depths, (torch.arange(256) + 0.5) / 256)


def units_of(cells: np.ndarray) -> torch.Tensor:
    """Of each gene, what one unit of its network is in counts: the mean over that of a rectified normal (scipy)."""
    units = []
    for gene in cells.T:
        offset = norm.ppf(np.clip((gene > 0).mean(), 0.005, 0.998))
        units.append(gene.mean() / (norm.pdf(offset) + offset * norm.cdf(offset)))
    # kept in single precision, as all that a stage is saved with
    return torch.tensor(units).float().double()


class PlainGAN:
    """One network per target, double backward through the penalty, no fused optimizer, one batch after the other."""

    def __init__(self, gan: CausalGAN, graph: CausalGraph, cells: torch.Tensor) -> None:
        self.gan, self.graph, self.hyper = gan, graph, gan.hyper
        self.cells, self.units = cells, torch.ones(len(graph.genes))
        if self.hyper.preconditioned:
            self.units = units_of(cells.numpy())
        self.order = list(gan.generator.target_generators.target_names)
        self.targets = reference_networks(gan.generator.target_generators)
        self.controller, self.critic = deepcopy(gan.generator.controller), deepcopy(gan.critic)
        self.labelers = {name: deepcopy(getattr(gan, name)) for name in ("labeler", "antilabeler")}
        weights = {
            "generator": [p for network in self.targets.values() for p in network.parameters()],
            "critic": list(self.critic.parameters()),
            **{name: list(labeler.parameters()) for name, labeler in self.labelers.items()},
        }
        settings = {"betas": self.hyper.betas, "weight_decay": self.hyper.weight_decay, "amsgrad": self.hyper.amsgrad}
        self.optimizers = {name: AdamW(weights[name], lr=lr[0], **settings) for name, (_, lr) in gan.networks().items()}

    def judged(self, cells):
        if not self.hyper.preconditioned:
            return cells
        halves = []
        for name in self.hyper.critic_spaces:
            real, seen = (torch.log(1 + some) if name == "log1p" else some for some in (self.cells, cells))
            halves.append((seen - real.mean(dim=0)) / real.var(dim=0).sum().sqrt())
        return torch.hstack(halves)

    def seen(self, cells, random):
        """The cells, or counts of Poisson's distribution, in the spaces of the critics."""
        if self.hyper.observation == "none":
            return self.judged(cells)
        depth = depths_of(self.cells)[torch.randint(256, (len(cells), 1), generator=random)]
        counts = torch.poisson(cells.detach() * depth / LIBRARY_SIZE, generator=random)
        one = LIBRARY_SIZE / counts.sum(dim=1, keepdim=True).clamp_min(1)  # some cells have no count
        seen, more = self.judged(counts * one), self.judged((counts + 1) * one)
        # Its value is what is seen; its derivative, what one more count of the gene would change.
        cells = torch.hstack([cells] * len(self.hyper.critic_spaces))
        return seen + (more - seen) / one * (cells - cells.detach())

    def generate(self, controller_noise, target_noise):
        with torch.no_grad():
            roots = self.controller(controller_noise)
        noise = dict(zip(self.order, target_noise, strict=True))
        is_root = torch.tensor([gene in self.graph.tf_names for gene in self.graph.genes])
        roots = roots / self.units[is_root]
        cells = reference_cells(self.graph, self.targets, self.order, roots, noise) * self.units
        return normalise_library_size(cells, LIBRARY_SIZE)

    def labeler_error(self, name, cells):
        is_tf = torch.tensor([gene in self.graph.tf_names for gene in self.graph.genes])
        first = cells[:, : len(is_tf)]
        return F.mse_loss(self.labelers[name](first[:, ~is_tf]), first[:, is_tf])

    def update(self, name, loss):
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def step(self, real, random):
        real, n = self.judged(real), len(real)
        losses = {}
        noise = self.gan.noise(n * self.hyper.critic_updates, random)
        batches = zip(noise.controller.split(n), noise.targets.split(n, dim=2), strict=True)
        epsilons = torch.rand(self.hyper.critic_updates, n, 1, generator=random)
        fakes = self.seen(torch.vstack([self.generate(*batch) for batch in batches]), random).detach().split(n)
        for fake, epsilon in zip(fakes, epsilons, strict=True):
            loss = penalty = 0
            for critic, own, other in zip(self.critic.of_space, *map(self.critic.views, (real, fake)), strict=True):
                between = (epsilon * own + (1 - epsilon) * other).requires_grad_()
                (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
                penalty = penalty + (slope.norm(dim=1) - 1).square().mean()
                loss = loss + critic(other).mean() - critic(own).mean()
            loss = loss + self.hyper.penalty_weight * penalty
            self.update("critic", loss)
            losses |= {"critic_loss": loss, "gradient_penalty": penalty}
        fake = self.seen(self.generate(*self.gan.noise(n, random)), random)
        loss = sum(self.labeler_error(name, fake) for name in self.labelers)
        weights = self.hyper.critic_weights or [1] * len(self.hyper.critic_spaces)
        for weight, critic, view in zip(weights, self.critic.of_space, self.critic.views(fake), strict=True):
            loss = loss - weight * critic(view).mean()
        self.update("generator", loss)
        losses["generator_loss"] = loss
        fake = self.seen(self.generate(*self.gan.noise(n, random)), random).detach()
        for name, kind, cells in (
            ("antilabeler", "generated", fake),
            ("labeler", "generated", fake),
            ("labeler", "real", real),
        ):
            loss = self.labeler_error(name, cells)
            self.update(name, loss)
            losses[f"{name}_{kind}_loss"] = loss
        return {name: loss.detach() for name, loss in losses.items()}


@pytest.mark.parametrize(
    ("spaces", "weights", "observation"),
    [
        (None, None, "none"),
        (["counts"], None, "none"),
        (["counts", "log1p"], None, "none"),
        (["log1p", "counts"], [0.5, 2.0], "poisson"),
    ],
    ids=str,
)
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_two_steps_equal_plain_torch(graph, spaces, weights, observation):
    torch.manual_seed(0)
    hyper = CausalGANHyperparameters(
        steps=2,
        batch_size=N_CELLS,
        critic_layers=[9, 7],
        labeler_layers=[8, 6],
        critic_updates=3,
        generator_lr=[1e-2, 1e-2],
        critic_lr=[1e-2, 1e-2],
        preconditioned=spaces is not None,
        critic_spaces=spaces or ["counts"],
        critic_weights=weights,
        observation=observation,
    )
    cells = normalise_library_size(F.relu(torch.randn(3 * N_CELLS, len(graph.genes))), LIBRARY_SIZE)
    gan = CausalGAN(cells, graph, CellGenerator(5, [6, 6], len(graph.genes)), hyper, LIBRARY_SIZE, seed=4).train()
    gan.optimizer = dict(zip(gan.networks(), gan.configure_optimizers(), strict=True))
    plain = PlainGAN(gan, graph, cells)

    for step in range(2):
        real = gan.batch(step)
        ours = gan.train_one_step(real, torch.Generator().manual_seed(step))
        theirs = plain.step(real, torch.Generator().manual_seed(step))
        assert list(ours) == list(theirs)
        for name, loss in ours.items():
            torch.testing.assert_close(loss, theirs[name], msg=lambda text, name=name: f"{name}: {text}")

    pairs = [(gan.critic, plain.critic), *((getattr(gan, name), labeler) for name, labeler in plain.labelers.items())]
    for ours, theirs in pairs:
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other)
    for target, network in reference_networks(gan.generator.target_generators).items():
        for (name, mine), other in zip(network.named_parameters(), plain.targets[target].parameters(), strict=True):
            torch.testing.assert_close(mine, other, msg=lambda text, name=f"{target} {name}": f"{name}: {text}")
    generators = gan.generator.target_generators
    for group, targets in zip(generators.groups, generators.group_targets, strict=True):
        networks = [plain.targets[target] for target in targets]
        torch.testing.assert_close(group.first.grad, torch.stack([network[0].weight.grad for network in networks]))
        torch.testing.assert_close(group.bias.grad, torch.cat([network[-2].bias.grad for network in networks]))
    assert any(group.first.grad.abs().max() > 0 for group in generators.groups)
