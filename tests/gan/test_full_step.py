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
        self.center, self.scale, self.units = 0.0, 1.0, torch.ones(len(graph.genes))
        if self.hyper.preconditioned:
            self.center, self.scale = cells.mean(dim=0), cells.var(dim=0).sum().sqrt()
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
        return (cells - self.center) / self.scale

    def generate(self, controller_noise, target_noise):
        with torch.no_grad():
            roots = self.controller(controller_noise)
        noise = dict(zip(self.order, target_noise, strict=True))
        is_root = torch.tensor([gene in self.graph.tf_names for gene in self.graph.genes])
        roots = roots / self.units[is_root]
        cells = reference_cells(self.graph, self.targets, self.order, roots, noise) * self.units
        return self.judged(normalise_library_size(cells, LIBRARY_SIZE))

    def labeler_error(self, name, cells):
        is_tf = torch.tensor([gene in self.graph.tf_names for gene in self.graph.genes])
        return F.mse_loss(self.labelers[name](cells[:, ~is_tf]), cells[:, is_tf])

    def update(self, name, loss):
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def step(self, real, random):
        real, n = self.judged(real), len(real)
        losses = {}
        noise = self.gan.noise(n * self.hyper.critic_updates, random)
        batches = zip(noise.controller.split(n), noise.targets.split(n, dim=2), strict=True)
        for batch, epsilon in zip(batches, torch.rand(self.hyper.critic_updates, n, 1, generator=random), strict=True):
            fake = self.generate(*batch).detach()
            between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
            penalty = (slope.norm(dim=1) - 1).square().mean()
            loss = self.critic(fake).mean() - self.critic(real).mean() + self.hyper.penalty_weight * penalty
            self.update("critic", loss)
            losses |= {"critic_loss": loss, "gradient_penalty": penalty}
        fake = self.generate(*self.gan.noise(n, random))
        loss = -self.critic(fake).mean() + sum(self.labeler_error(name, fake) for name in self.labelers)
        self.update("generator", loss)
        losses["generator_loss"] = loss
        fake = self.generate(*self.gan.noise(n, random)).detach()
        for name, kind, cells in (
            ("antilabeler", "generated", fake),
            ("labeler", "generated", fake),
            ("labeler", "real", real),
        ):
            loss = self.labeler_error(name, cells)
            self.update(name, loss)
            losses[f"{name}_{kind}_loss"] = loss
        return {name: loss.detach() for name, loss in losses.items()}


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_two_steps_equal_plain_torch(graph, preconditioned):
    torch.manual_seed(0)
    hyper = CausalGANHyperparameters(
        steps=2,
        batch_size=N_CELLS,
        critic_layers=[9, 7],
        labeler_layers=[8, 6],
        critic_updates=3,
        generator_lr=[1e-2, 1e-2],
        critic_lr=[1e-2, 1e-2],
        preconditioned=preconditioned,
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
