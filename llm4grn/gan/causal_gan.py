"""Stage 2: the causal GAN, which generates each target gene from its regulators and its own noise only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from llm4grn.gan.adversarial import INITIAL_CELLS, AdversarialModule, Networks
from llm4grn.gan.distributed import share
from llm4grn.gan.hyperparameters import CausalGANHyperparameters
from llm4grn.gan.interventions import Intervention
from llm4grn.gan.networks import CellGenerator, Critics, Labeler, library_scale, normalise_library_size
from llm4grn.gan.observation import ObservableGenerator, Observation
from llm4grn.gan.target_generators import TargetGenerators
from llm4grn.gan.training_cells import Cells
from llm4grn.grn import CausalGraph
from llm4grn.runtime.seeding import derive_seed


class Noise(NamedTuple):
    """All random numbers of a batch of generated cells.

    Attributes
    ----------
    controller
        Noise of the causal controller, shape ``(n_cells, noise_dim)``.
    targets
        Noise of the target generators, shape ``(n_targets, noise_per_gene, n_cells)``.
    """

    controller: Tensor
    targets: Tensor


class CausalGenerator(ObservableGenerator):
    """Frozen causal controller and target generators, which map noise to cells that obey the imposed graph.

    Parameters
    ----------
    graph
        The imposed graph over all genes.
    controller
        The trained generator of stage 1 over the same genes; it is frozen and restricted to the graph's roots.
    hyperparameters
        See :class:`CausalGANHyperparameters`.
    library_size
        Total count of every generated cell.
    """

    def __init__(
        self,
        graph: CausalGraph,
        controller: CellGenerator,
        hyperparameters: CausalGANHyperparameters,
        library_size: float,
    ) -> None:
        super().__init__()
        self.genes = graph.genes
        position = {gene: i for i, gene in enumerate(graph.genes)}
        controller.freeze_as_root_source(torch.tensor([position[tf] for tf in graph.tf_names]))
        self.controller = controller
        self.library_size = library_size
        shape = hyperparameters.noise_per_gene, hyperparameters.depth, hyperparameters.width
        self.target_generators = TargetGenerators(graph, *shape, hyperparameters.revive)
        self.n_targets = len(self.target_generators.target_names)
        self.observation = Observation() if hyperparameters.observation == "poisson" else None

    def noise(self, n_cells: int, random: torch.Generator) -> Noise:
        """Draw standard normal noise for ``n_cells`` cells on the device of ``random``."""
        shapes = (n_cells, self.controller.noise_dim), (self.n_targets, self.target_generators.noise_per_gene, n_cells)
        return Noise(*(torch.randn(shape, generator=random, device=random.device) for shape in shapes))

    def forward(self, noise: Noise, batch_size: int | None = None) -> Tensor:
        """Generate cells of shape ``(n_cells, n_genes)``; no gradient flows into the controller.

        BatchNorm takes ``batch_size`` cells as one batch, by default all cells.
        """
        return normalise_library_size(self.unscaled(noise, batch_size), self.library_size)

    def unscaled(self, noise: Noise, batch_size: int | None = None) -> Tensor:
        """Generate cells as :meth:`forward` does, but before the library-size layer."""
        with torch.no_grad():
            roots = self.controller(noise.controller, batch_size)
        return self.target_generators(roots, noise.targets, batch_size)

    @torch.no_grad()
    def do(
        self, interventions: Sequence[Intervention], noise: Noise, random: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Generate the same cells without and with interventions, shape ``(n_cells, n_genes)`` each.

        Both have the same root TFs, noise and scaling factors to the library size, so only the genes intervened on and
        their descendants differ. Interventions set what is expected of a gene; counts are drawn afterwards, if at all.
        """
        roots = self.controller(noise.controller)
        before = self.target_generators(roots, noise.targets)
        scale = library_scale(before, self.library_size)
        assigned = {}
        for change in interventions:
            own = before[:, self.genes.index(change.gene)]
            assigned[change.gene] = change.amount * own if change.is_multiple else change.amount / scale[:, 0]
        after = self.target_generators(roots, noise.targets, assigned=assigned)
        before, after = before * scale, after * scale
        return (before, after) if self.observation is None else self.observation.pair(before, after, random)


class CausalGAN(AdversarialModule):
    """Causal generator, critic, labeler and anti-labeler, and their updates (protocol, section 5).

    Parameters
    ----------
    cells
        Real training cells, shape ``(n_cells, n_genes)``, genes in the order of ``graph.genes``.
    graph, controller, hyperparameters, library_size
        See :class:`CausalGenerator`.
    seed
        Seed for weights, batches and noise.
    """

    hyper: CausalGANHyperparameters
    generator: CausalGenerator
    tf_index: Tensor
    target_index: Tensor
    compiled_methods = (*AdversarialModule.compiled_methods, "labeler_error")

    def __init__(
        self,
        cells: Cells | Tensor,
        graph: CausalGraph,
        controller: CellGenerator,
        hyperparameters: CausalGANHyperparameters,
        library_size: float,
        seed: int,
    ) -> None:
        super().__init__(cells, hyperparameters, library_size, seed)
        roots = set(graph.tf_names)
        is_root = torch.tensor([gene in roots for gene in graph.genes])
        self.register_buffer("tf_index", is_root.nonzero().flatten(), persistent=False)
        self.register_buffer("target_index", (~is_root).nonzero().flatten(), persistent=False)
        n_tfs, n_targets = len(self.tf_index), len(self.target_index)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "weights"))
            self.generator = CausalGenerator(graph, controller, hyperparameters, library_size)
            self.critic = Critics(hyperparameters.space_weights, len(graph.genes), hyperparameters.critic_layers)
            self.labeler = Labeler(n_targets, hyperparameters.labeler_layers, n_tfs)
            self.antilabeler = Labeler(n_targets, hyperparameters.labeler_layers, n_tfs)
        self.learn_depths()
        if hyperparameters.preconditioned and len(cells):  # generating with trained weights needs no cells
            random = torch.Generator().manual_seed(derive_seed(seed, "start"))
            noise = self.generator.noise(INITIAL_CELLS, random)
            roots = self.generator.controller(noise.controller)
            self.generator.target_generators.start_at(self.marginals(), roots, noise.targets)

    def networks(self) -> Networks:
        return {
            "generator": (self.generator.target_generators.parameters(), self.hyper.generator_lr),
            "critic": (self.critic.parameters(), self.hyper.critic_lr),
            "labeler": (self.labeler.parameters(), self.hyper.labeler_lr),
            "antilabeler": (self.antilabeler.parameters(), self.hyper.labeler_lr),
        }

    def noise(self, n_cells: int, random: torch.Generator) -> Noise:
        return self.generator.noise(n_cells, random)

    def forward(self, noise: Noise, batch_size: int | None = None) -> Tensor:
        """Generate cells of shape ``(n_cells, n_genes)``, see :meth:`CausalGenerator.forward`."""
        return self.generator(noise, batch_size)

    def unscaled(self, noise: Noise, batch_size: int | None = None) -> Tensor:
        return self.generator.unscaled(noise, batch_size)

    def train_one_step(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        real = self.critic_input(real)
        critic = self.critic_updates(real, random)
        n = self.hyper.batch_size
        generator_loss = self.generator_update(self.noise(n, random), random)
        labelers = self.labeler_updates(real, self.noise(n, random), random)
        return {
            "critic_loss": critic.loss,
            "gradient_penalty": critic.gradient_penalty,
            "generator_loss": generator_loss,
            **labelers,
        }

    def generator_loss(self, noise: Noise, random: torch.Generator | None = None) -> Tensor:
        n = self.hyper.batch_size
        fake = self.fake_cells(noise, random=random)[share(n)]
        with self.autocast():
            loss = -self.critic(fake).sum() / n
            for labeler in (self.labeler, self.antilabeler):
                loss = loss + self._error(labeler, fake)
        return loss

    def generator_update(self, noise: Noise, random: torch.Generator | None = None) -> Tensor:
        """Update the target generators once, against critic and both labelers, and return their loss."""
        loss = self.generator_loss(noise, random)
        self.optimizer["generator"].zero_grad()
        loss.backward(inputs=list(self.generator.target_generators.parameters()))
        self.apply_gradients("generator")
        return loss.detach()

    def labeler_updates(self, real: Tensor, noise: Noise, random: torch.Generator | None = None) -> dict[str, Tensor]:
        """Update the anti-labeler on generated cells, and the labeler on the same and then on real cells.

        ``real`` is preconditioned by :meth:`critic_input`, if at all. Returns this rank's terms of the losses.
        """
        with torch.no_grad():
            fake = self.fake_cells(noise, random=random)[share(self.hyper.batch_size)]
        errors = {}
        for name, cells in ("antilabeler", fake), ("labeler", fake), ("labeler", real):
            error = self.labeler_error(getattr(self, name), cells)
            self.optimizer[name].zero_grad()
            error.backward()
            self.apply_gradients(name)
            errors[f"{name}_{'real' if cells is real else 'generated'}_loss"] = error.detach()
        return errors

    def labeler_error(self, labeler: Labeler, cells: Tensor) -> Tensor:
        """Compute this rank's term of the mean squared error of the predicted TFs."""
        with self.autocast():
            return self._error(labeler, cells)

    def _error(self, labeler: Labeler, cells: Tensor) -> Tensor:
        predicted = labeler(cells.index_select(1, self.target_index))
        squares = F.mse_loss(predicted, cells.index_select(1, self.tf_index), reduction="sum")
        return squares / (self.hyper.batch_size * len(self.tf_index))

    @torch.no_grad()
    def generate(self, n_cells: int, seed: int) -> Tensor:
        """Generate cells under the imposed graph.

        The target generators use running statistics, but the controller uses batch statistics. Cells are therefore
        generated in batches of the training's size, and the last batch is cut (protocol, section 5).

        Returns
        -------
        Shape ``(n_cells, n_genes)``, on the CPU.
        """
        return torch.cat([cells.cpu() for cells in self.cell_batches(n_cells, seed)])[:n_cells]

    @torch.no_grad()
    def do(self, interventions: Sequence[Intervention], n_cells: int, seed: int) -> tuple[Tensor, Tensor]:
        """Generate pairs of cells under the imposed graph, without and with interventions.

        The cells without interventions are those of :meth:`generate`. See :meth:`CausalGenerator.do` for what the two
        of a pair have in common.

        Returns
        -------
        Cells without and with interventions, shape ``(n_cells, n_genes)`` each, on the CPU.
        """
        random = self._random_of_counts(seed)
        pairs = [self.generator.do(interventions, noise, random) for noise in self.noise_batches(n_cells, seed)]
        before, after = (torch.cat([cells.cpu() for cells in half])[:n_cells] for half in zip(*pairs, strict=True))
        return before, after

    @torch.no_grad()
    def cell_batches(self, n_cells: int, seed: int) -> Iterator[Tensor]:
        """Yield at least ``n_cells`` generated cells, in whole batches, on the device."""
        random = self._random_of_counts(seed)
        for noise in self.noise_batches(n_cells, seed):
            yield self.observe(self(noise), random)

    def _random_of_counts(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(derive_seed(seed, "observe"))

    def noise_batches(self, n_cells: int, seed: int) -> Iterator[Noise]:
        """Yield noise for at least ``n_cells`` cells, in whole batches, and switch to evaluation mode."""
        self.eval()
        random = torch.Generator(self.device).manual_seed(derive_seed(seed, "generate"))
        for _ in range(0, n_cells, self.hyper.batch_size):
            yield self.noise(self.hyper.batch_size, random)
