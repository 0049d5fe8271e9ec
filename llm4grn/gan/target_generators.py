"""One small network per target gene, computed in batches, so that memory and time grow with the number of edges."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4grn.gan.kernels import FusedTargets, Statistics
from llm4grn.gan.marginals import Marginals, rescale_output
from llm4grn.grn import CausalGraph


class TargetGroup(nn.Module):
    """The networks of all targets in one layer of the graph that have the same number of regulators.

    As their shapes are equal, they are computed as one batch, without masks or padding. Tensors are laid out
    ``(target, unit, cell)``, so that gathering a regulator copies a contiguous row and BatchNorm reduces along a
    contiguous row.

    Parameters
    ----------
    regulators
        Rows of each target's regulators among the genes computed so far, shape ``(n_targets, n_regulators)``.
    noise_per_gene
        Number of standard normal inputs of each network.
    depth
        Number of hidden blocks after the first.
    width
        Units of a hidden block per input.
    revive
        See :func:`rectify`.
    """

    regulators: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, regulators: Tensor, noise_per_gene: int, depth: int, width: int, revive: bool) -> None:
        super().__init__()
        self.revive = revive
        n_targets, n_regulators = regulators.shape
        n_inputs = n_regulators + noise_per_gene
        n_hidden = width * n_inputs
        norms = depth + 1, n_targets, n_hidden
        self.register_buffer("regulators", regulators, persistent=False)
        self.first = nn.Parameter(_xavier_uniform(n_targets, n_hidden, n_inputs))
        self.inner = nn.Parameter(_xavier_uniform(depth, n_targets, n_hidden, n_hidden))
        self.gamma = nn.Parameter(torch.ones(norms))
        self.beta = nn.Parameter(torch.zeros(norms))
        self.last = nn.Parameter(torch.randn(n_targets, n_hidden) * math.sqrt(2 / n_hidden))
        self.bias = nn.Parameter(torch.zeros(n_targets))
        self.register_buffer("running_mean", torch.zeros(norms))
        self.register_buffer("running_var", torch.ones(norms))

    def forward(self, genes: Tensor, noise: Tensor, batch_size: int) -> Tensor:
        """Compute the expression of the group's targets.

        Parameters
        ----------
        genes
            Genes computed so far, shape ``(n_genes, n_cells)``.
        noise
            Standard normal noise, shape ``(n_targets, noise_per_gene, n_cells)``.
        batch_size
            Number of cells that BatchNorm takes as one batch, a divisor of ``n_cells``.

        Returns
        -------
        Shape ``(n_targets, n_cells)``.
        """
        if genes.device.type != "cpu" or torch.compiler.is_compiling():  # the compiler cannot trace a numba kernel
            return self.forward_by_operators(genes, noise, batch_size)
        parameters = self.first, self.inner, self.gamma, self.beta, self.last, self.bias
        statistics = Statistics(self.running_mean, self.running_var, self.training, batch_size)
        return FusedTargets.apply(genes, self.regulators, noise, *parameters, statistics, self.revive)

    def forward_by_operators(self, genes: Tensor, noise: Tensor, batch_size: int) -> Tensor:
        """Compute :meth:`forward` with torch's operators, for other devices and as reference for the fused kernel."""
        batches = zip(genes.split(batch_size, dim=1), noise.split(batch_size, dim=2), strict=True)
        return rectify(torch.cat([self.pre_activation(*batch) for batch in batches], dim=1), self.revive)

    def pre_activation(self, genes: Tensor, noise: Tensor) -> Tensor:
        """Compute the input of the last ReLU, shape ``(n_targets, n_cells)``, with all cells as one batch."""
        n_cells = genes.shape[1]
        inputs = genes.index_select(0, self.regulators.flatten()).view(*self.regulators.shape, n_cells)
        hidden = torch.cat([inputs, noise], dim=1)
        for i, weight in enumerate([self.first, *self.inner]):
            hidden = torch.bmm(weight, hidden)
            mean, var = self.running_mean[i].view(-1), self.running_var[i].view(-1)
            affine = self.gamma[i].view(-1), self.beta[i].view(-1)
            normal = F.batch_norm(hidden.view(1, -1, n_cells), mean, var, *affine, training=self.training)
            hidden = normal.relu_().view(hidden.shape)
        return torch.baddbmm(self.bias[:, None, None], self.last.unsqueeze(1), hidden).squeeze(1)


class TargetGenerators(nn.Module):
    """Generates every gene with regulators from these regulators, one layer of the graph after the other.

    Parameters
    ----------
    graph
        A valid acyclic graph. Its roots are inputs, in the order of ``graph.tf_names``.
    noise_per_gene, depth, width, revive
        Parameters of each network, see :class:`TargetGroup`.

    Attributes
    ----------
    groups
        One :class:`TargetGroup` for each layer and number of regulators.
    group_targets
        The targets of each group, in the order of its parameters.
    row
        Position of each gene in the order of computation: roots, then the targets of one group after the other.
    order
        Position in the order of computation of each gene of ``graph.genes``, shape ``(n_genes,)``.
    units
        Counts per unit of the networks for each gene in the order of computation, shape ``(n_genes, 1)``; ones unless
        :meth:`start_at` is called.
    """

    order: Tensor
    units: Tensor

    def __init__(
        self, graph: CausalGraph, noise_per_gene: int = 1, depth: int = 2, width: int = 1, revive: bool = False
    ) -> None:
        super().__init__()
        row = {gene: i for i, gene in enumerate(graph.tf_names)}
        groups: list[TargetGroup] = []
        self.group_targets: list[list[str]] = []
        for layer in graph.layers():
            by_size: dict[int, list[str]] = defaultdict(list)
            for target in layer:
                by_size[len(graph.regulators[target])].append(target)
            for _, targets in sorted(by_size.items()):
                regulators = torch.tensor([[row[tf] for tf in graph.regulators[target]] for target in targets])
                groups.append(TargetGroup(regulators, noise_per_gene, depth, width, revive))
                self.group_targets.append(targets)
                row |= {target: len(row) + i for i, target in enumerate(targets)}
        self.groups = cast("Sequence[TargetGroup]", nn.ModuleList(groups))  # it does not know its elements' type
        self.row = row
        self.noise_per_gene = noise_per_gene
        order = torch.tensor([row[gene] for gene in graph.genes])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("units", torch.ones(len(order), 1))

    @property
    def target_names(self) -> Sequence[str]:
        """Return all targets in the order of their noise."""
        return [target for targets in self.group_targets for target in targets]

    @torch.no_grad()
    def start_at(self, marginals: Marginals, roots: Tensor, noise: Tensor) -> None:
        """Initialise untrained networks so that each gene follows its own distribution.

        Parameters
        ----------
        marginals
            Marginals of all genes, in the order of ``graph.genes``.
        roots, noise
            As in :meth:`forward`.
        """
        computed = torch.empty_like(self.order)  # genes in the order of computation
        computed[self.order] = torch.arange(len(self.order), device=self.order.device)
        marginals = marginals.of(computed)
        self.units.copy_(marginals.unit[:, None])
        genes, per_group = self._inputs(roots, noise)
        for group, group_noise in zip(self.groups, per_group, strict=True):
            offset = marginals.offset[len(genes) : len(genes) + len(group.bias)]
            rescale_output(group.pre_activation(genes, group_noise), group.last, group.bias, offset)
            genes = torch.cat([genes, F.relu(group.pre_activation(genes, group_noise))])

    def forward(
        self,
        roots: Tensor,
        noise: Tensor,
        batch_size: int | None = None,
        assigned: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """Generate all genes of cells, before the library-size layer.

        Parameters
        ----------
        roots
            Expression of the root TFs, shape ``(n_cells, n_roots)``.
        noise
            Standard normal noise, shape ``(n_targets, noise_per_gene, n_cells)``, in the order of ``target_names``.
        batch_size
            As in :meth:`TargetGroup.forward`; ``None``: all cells.
        assigned
            Values by gene, shape ``(n_cells,)`` each, that replace those computed from regulators.

        Returns
        -------
        Shape ``(n_cells, n_genes)``, in the order of ``graph.genes``.
        """
        genes, per_group = self._inputs(roots, noise)
        rows = {self.row[gene]: values for gene, values in assigned.items()}
        _assign(genes, rows, 0, self.units)
        for group, group_noise in zip(self.groups, per_group, strict=True):
            n_before = len(genes)
            genes = torch.cat([genes, group(genes, group_noise, batch_size or len(roots))])
            _assign(genes, rows, n_before, self.units)
        return (genes * self.units).index_select(0, self.order).t()

    def _inputs(self, roots: Tensor, noise: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the roots in units of the networks, shape ``(n_roots, n_cells)``, and the noise of each group."""
        genes = (roots / self.units[: roots.shape[1], 0]).t().contiguous()
        return genes, noise.split([len(targets) for targets in self.group_targets])


def rectify(values: Tensor, revive: bool) -> Tensor:
    """Apply ReLU; with ``revive``, pass the gradient of a gene that no cell of the batch expresses.

    Plain ReLU has no gradient where its output is zero, so a gene that no cell expresses any more would stay silent.

    Parameters
    ----------
    values
        Input of ReLU, shape ``(n_genes, n_cells)``.
    revive
        False: plain ReLU.
    """
    active = F.relu(values)
    if not revive:
        return active
    dead = ~(values > 0).any(dim=1, keepdim=True)
    return torch.where(dead, values - values.detach(), active)


def _assign(genes: Tensor, rows: Mapping[int, Tensor], first: int, units: Tensor) -> None:
    """Overwrite, in place, the assigned genes among the rows from ``first`` on."""
    for row, values in rows.items():
        if first <= row < len(genes):
            genes[row] = values / units[row]


def _xavier_uniform(*shape: int) -> Tensor:
    """Draw weights of many small layers, each Xavier-uniform (Glorot and Bengio 2010) within its own network."""
    bound = math.sqrt(6 / (shape[-1] + shape[-2]))
    return torch.empty(shape).uniform_(-bound, bound)
