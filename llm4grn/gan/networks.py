"""The dense networks of both stages (cell generator, critic, labeler) and the library-size layer."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from llm4grn.gan.distributed import SharedBatchNorm
from llm4grn.gan.marginals import Marginals, rescale_output
from llm4grn.gan.observation import ObservableGenerator, Observation


def normalise_library_size(cells: Tensor, library_size: float) -> Tensor:
    """Scale each cell so that its genes sum to ``library_size``; a cell without any expression stays zero.

    Parameters
    ----------
    cells
        Non-negative expression, shape ``(n_cells, n_genes)``.
    library_size
        Total count of a cell after scaling.

    Returns
    -------
    Shape ``(n_cells, n_genes)``.
    """
    return cells * library_scale(cells, library_size)


def library_scale(cells: Tensor, library_size: float) -> Tensor:
    """Return the factor of each cell in :func:`normalise_library_size`, shape ``(n_cells, 1)``."""
    total = cells.sum(dim=1, keepdim=True)
    return library_size / torch.where(total > 0, total, torch.ones_like(total))


def hidden_blocks(widths: Sequence[int], norm: type[nn.BatchNorm1d] = nn.BatchNorm1d) -> list[nn.Module]:
    """Build Linear + BatchNorm + ReLU blocks between consecutive widths.

    The linear layers have no bias: BatchNorm subtracts the batch mean, so a bias in front of it changes no output and
    receives no gradient (only rounding noise, which Adam would amplify to full steps).
    """
    blocks: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        blocks.append(nn.Sequential(nn.Linear(n_in, n_out, bias=False), norm(n_out), nn.ReLU()))
    return blocks


class CellGenerator(ObservableGenerator):
    """Maps noise to non-negative expression of all genes, before the library-size layer (the causal controller).

    Parameters
    ----------
    noise_dim
        Length of the noise vector of one cell.
    layers
        Widths of the hidden Linear + BatchNorm + ReLU blocks.
    n_genes
        Width of the last Linear + ReLU.
    observed
        True if the expression is an expectation, of which counts are seen.

    Attributes
    ----------
    observation
        Draws these counts; None unless ``observed``.
    units
        Counts per unit of the last layer, shape ``(n_genes,)``; ones unless :meth:`start_at` sets them.
    """

    units: Tensor

    def __init__(self, noise_dim: int, layers: Sequence[int], n_genes: int, observed: bool = False) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        self.observation = Observation() if observed else None
        self.blocks = nn.Sequential(*hidden_blocks([noise_dim, *layers]))
        self.output = nn.Linear(layers[-1], n_genes)
        self.register_buffer("units", torch.ones(n_genes))
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        nn.init.kaiming_normal_(self.output.weight, nonlinearity="relu")
        nn.init.zeros_(self.output.bias)

    def forward(self, noise: Tensor, batch_size: int | None = None) -> Tensor:
        """Return expression of shape ``(n_cells, n_genes)`` from noise of shape ``(n_cells, noise_dim)``.

        BatchNorm takes ``batch_size`` cells as one batch, by default all cells.
        """
        hidden = torch.cat([self.blocks(batch) for batch in noise.split(batch_size or len(noise))])
        return torch.relu(self.output(hidden)) * self.units

    @torch.no_grad()
    def start_at(self, marginals: Marginals, noise: Tensor) -> None:
        """Initialise an untrained network so that cells from ``noise`` follow each gene's own distribution."""
        hidden = self.train().blocks(noise)
        rescale_output(self.output(hidden).t(), self.output.weight, self.output.bias, marginals.offset)
        self.units.copy_(marginals.unit)

    @torch.no_grad()
    def freeze_as_root_source(self, genes: Tensor) -> None:
        """Turn a trained controller into the source of root genes that stage 2 uses.

        It keeps only the output columns of ``genes``, receives no gradient, and normalises by batch statistics, also
        when it generates (protocol, section 5). Targets are computed from what it expects of their regulators.

        Parameters
        ----------
        genes
            Indices of the root genes, shape ``(n_roots,)``.
        """
        output = nn.Linear(self.output.in_features, len(genes))
        output.weight.copy_(self.output.weight[genes])
        output.bias.copy_(self.output.bias[genes])
        self.output = output.to(self.output.weight.device)
        self.units = self.units[genes]
        self.observation = None
        for norm in self.blocks.modules():
            if isinstance(norm, nn.BatchNorm1d):
                norm.track_running_stats = False
                norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        self.requires_grad_(False)


class Critic(nn.Module):
    """Scores cells, real ones high: Linear + ReLU layers without normalisation, and a linear output.

    Parameters
    ----------
    n_genes
        Length of a cell.
    layers
        Widths of the hidden layers.
    """

    def __init__(self, n_genes: int, layers: Sequence[int]) -> None:
        super().__init__()
        widths = [n_genes, *layers, 1]
        # A ModuleList does not know the type of its elements.
        self.layers = cast("Sequence[nn.Linear]", nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths)))
        for layer in self.layers[:-1]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.xavier_uniform_(self.layers[-1].weight)
        for layer in self.layers:
            nn.init.zeros_(layer.bias)

    def forward(self, cells: Tensor) -> Tensor:
        """Return scores of shape ``(n_cells, 1)`` for cells of shape ``(n_cells, n_genes)``."""
        for layer in self.layers[:-1]:
            cells = torch.relu(layer(cells))
        last = self.layers[-1]
        with torch.autocast(cells.device.type, enabled=False):  # not to round sums of many units
            return last(cells.to(last.weight.dtype))


class Critics(nn.Module):
    """One critic for each space in which cells are seen; their scores are added.

    Each has a gradient penalty of its own. One critic of all spaces at once would share its slope among them, and
    hardly look at a space where differences are small.

    Parameters
    ----------
    weights
        Weight of each critic's score in the sum.
    n_genes, layers
        See :class:`Critic`.
    """

    def __init__(self, weights: Sequence[float], n_genes: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.weights = tuple(weights)
        self.of_space = cast("Sequence[Critic]", nn.ModuleList(Critic(n_genes, layers) for _ in weights))

    def forward(self, cells: Tensor) -> Tensor:
        """Return scores of shape ``(n_cells, 1)`` for cells of shape ``(n_cells, n_spaces * n_genes)``."""
        parts = zip(self.weights, self.of_space, self.views(cells), strict=True)
        return torch.stack([weight * critic(view) for weight, critic, view in parts]).sum(dim=0)

    def views(self, cells: Tensor) -> tuple[Tensor, ...]:
        """Return the cells as each critic sees them, shape ``(n_cells, n_genes)`` each."""
        return cells.chunk(len(self.of_space), dim=1)


class Labeler(nn.Module):
    """Predicts the expression of the root TFs from that of the targets: Linear + BatchNorm + ReLU, linear output.

    BatchNorm takes the cells of all ranks as one batch, because each rank labels its own share of the cells.

    Parameters
    ----------
    n_targets, n_tfs
        Number of target genes and of root TFs.
    layers
        Widths of the hidden blocks.
    """

    def __init__(self, n_targets: int, layers: Sequence[int], n_tfs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*hidden_blocks([n_targets, *layers], SharedBatchNorm))
        self.output = nn.Linear(layers[-1], n_tfs)

    def forward(self, targets: Tensor) -> Tensor:
        """Return TF expression of shape ``(n_cells, n_tfs)`` for targets of shape ``(n_cells, n_targets)``."""
        return self.output(self.blocks(targets))
