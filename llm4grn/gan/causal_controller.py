"""Stage 1: a non-causal WGAN-GP over all genes, whose generator becomes the causal controller of stage 2."""

from __future__ import annotations

import torch
from torch import Tensor

from llm4grn.gan.adversarial import INITIAL_CELLS, AdversarialModule, Networks
from llm4grn.gan.distributed import share
from llm4grn.gan.hyperparameters import ControllerHyperparameters
from llm4grn.gan.networks import CellGenerator, Critics, normalise_library_size
from llm4grn.gan.training_cells import Cells
from llm4grn.runtime.seeding import derive_seed


class CausalController(AdversarialModule):
    """The generator and critic of stage 1 (protocol, section 5).

    Parameters
    ----------
    cells
        Real training cells, shape ``(n_cells, n_genes)``, all of the same library size.
    hyperparameters
        See :class:`ControllerHyperparameters`.
    library_size
        Total count of every real and generated cell.
    seed
        Seed for weights, batches and noise.
    """

    hyper: ControllerHyperparameters
    generator: CellGenerator

    def __init__(
        self, cells: Cells | Tensor, hyperparameters: ControllerHyperparameters, library_size: float, seed: int
    ) -> None:
        super().__init__(cells, hyperparameters, library_size, seed)
        n_genes = self.cells.n_genes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "weights"))
            self.generator = CellGenerator(
                hyperparameters.noise_dim,
                hyperparameters.generator_layers,
                n_genes,
                hyperparameters.observation == "poisson",
            )
            self.critic = Critics(hyperparameters.space_weights, n_genes, hyperparameters.critic_layers)
        self.learn_depths()
        if hyperparameters.preconditioned and len(cells):  # generating with trained weights needs no cells
            random = torch.Generator().manual_seed(derive_seed(seed, "start"))
            noise = torch.randn(INITIAL_CELLS, hyperparameters.noise_dim, generator=random)
            self.generator.start_at(self.marginals(), noise)

    def networks(self) -> Networks:
        return {
            "generator": (self.generator.parameters(), self.hyper.generator_lr),
            "critic": (self.critic.parameters(), self.hyper.critic_lr),
        }

    def forward(self, noise: Tensor, batch_size: int | None = None) -> Tensor:
        """Generate cells of shape ``(n_cells, n_genes)`` from noise of shape ``(n_cells, noise_dim)``."""
        return normalise_library_size(self.unscaled(noise, batch_size), self.library_size)

    def unscaled(self, noise: Tensor, batch_size: int | None = None) -> Tensor:
        return self.generator(noise, batch_size)

    def train_one_step(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        critic = self.critic_updates(self.critic_input(real), random)
        generator_loss = self.generator_update(self.noise(self.hyper.batch_size, random), random)
        return {
            "critic_loss": critic.loss,
            "gradient_penalty": critic.gradient_penalty,
            "generator_loss": generator_loss,
        }

    def noise(self, n_cells: int, random: torch.Generator) -> Tensor:
        """Draw standard normal noise for ``n_cells`` cells, shape ``(n_cells, noise_dim)``."""
        return torch.randn(n_cells, self.generator.noise_dim, generator=random, device=self.device)

    def generator_loss(self, noise: Tensor, random: torch.Generator | None = None) -> Tensor:
        n = self.hyper.batch_size
        fake = self.fake_cells(noise, random=random)[share(n)]
        with self.autocast():
            return -self.critic(fake).sum() / n

    def generator_update(self, noise: Tensor, random: torch.Generator | None = None) -> Tensor:
        """Update the generator once, and return its loss; the critic is not changed."""
        loss = self.generator_loss(noise, random)
        self.optimizer["generator"].zero_grad()
        loss.backward(inputs=list(self.generator.parameters()))
        self.apply_gradients("generator")
        return loss.detach()

    @torch.no_grad()
    def generate(self, n_cells: int, seed: int) -> Tensor:
        """Generate cells of the stage-1 baseline, with BatchNorm's running statistics (protocol, section 5).

        Returns
        -------
        Shape ``(n_cells, n_genes)``, on the CPU.
        """
        self.eval()
        random = torch.Generator(self.device).manual_seed(derive_seed(seed, "generate"))
        return self.observe(self(self.noise(n_cells, random)), random).cpu()
