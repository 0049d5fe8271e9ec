"""One small network per target gene, all of them computed together: memory and arithmetic grow with the edges."""

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4grn.grn import CausalGraph


class TargetGroup(nn.Module):
    """The networks of all targets of one layer of the graph that have the same number of regulators.

    Equal shapes make one batched product of them, without a mask and without padding. Tensors are laid out
    ``(target, unit, cell)``, so that gathering a regulator copies a contiguous row and BatchNorm reduces over one.

    Parameters
    ----------
    regulators
        Rows of each target's regulators among the genes computed so far, shape ``(n_targets, n_regulators)``.
    noise_per_gene
        Standard normal inputs of each network.
    depth
        Number of hidden blocks after the first.
    width
        Units of a hidden block per input.
    """

    def __init__(self, regulators: Tensor, noise_per_gene: int, depth: int, width: int) -> None:
        super().__init__()
        n_targets, n_regulators = regulators.shape
        n_inputs = n_regulators + noise_per_gene
        n_hidden = width * n_inputs
        self.noise_per_gene = noise_per_gene
        self.register_buffer("regulators", regulators.flatten(), persistent=False)
        self.weights = nn.ParameterList()
        for fan_in in [n_inputs] + [n_hidden] * depth:
            bound = math.sqrt(6 / (fan_in + n_hidden))  # Xavier-uniform within each small network
            self.weights.append(torch.empty(n_targets, n_hidden, fan_in).uniform_(-bound, bound))
        self.norms = nn.ModuleList(nn.BatchNorm1d(n_targets * n_hidden) for _ in range(depth + 1))
        self.output_weight = nn.Parameter(torch.randn(n_targets, 1, n_hidden) * math.sqrt(2 / n_hidden))
        self.output_bias = nn.Parameter(torch.zeros(n_targets, 1, 1))

    def forward(self, genes: Tensor, noise: Tensor) -> Tensor:
        """Expression of the group's targets.

        Parameters
        ----------
        genes
            Genes computed so far, shape ``(n_genes, n_cells)``.
        noise
            Shape ``(n_targets, noise_per_gene, n_cells)``.

        Returns
        -------
        Shape ``(n_targets, n_cells)``.
        """
        n_targets, _, n_cells = noise.shape
        inputs = genes.index_select(0, self.regulators).view(n_targets, -1, n_cells)
        hidden = torch.cat([inputs, noise], dim=1)
        for weight, norm in zip(self.weights, self.norms, strict=True):
            hidden = torch.bmm(weight, hidden)
            hidden = norm(hidden.view(1, -1, n_cells)).relu_().view(hidden.shape)
        return F.relu(torch.baddbmm(self.output_bias, self.output_weight, hidden)).squeeze(1)


class TargetGenerators(nn.Module):
    """Every gene that has regulators, made from them: layer by layer of the graph, each layer together.

    Parameters
    ----------
    graph
        A valid acyclic graph. Its roots come in as input, in the order of ``graph.tf_names``.
    noise_per_gene, depth, width
        Of each network, see :class:`TargetGroup`.

    Attributes
    ----------
    target_names
        All targets in the order in which noise and parameters are laid out.
    """

    def __init__(self, graph: CausalGraph, noise_per_gene: int = 1, depth: int = 2, width: int = 1) -> None:
        super().__init__()
        row = {gene: i for i, gene in enumerate(graph.tf_names)}
        groups, self.group_targets = [], []
        for layer in graph.layers():
            by_size: dict[int, list[str]] = defaultdict(list)
            for target in layer:
                by_size[len(graph.regulators[target])].append(target)
            rows_before = dict(row)
            for _, targets in sorted(by_size.items()):
                regulators = torch.tensor([[rows_before[tf] for tf in graph.regulators[t]] for t in targets])
                groups.append(TargetGroup(regulators, noise_per_gene, depth, width))
                self.group_targets.append(targets)
                row.update({target: len(row) + i for i, target in enumerate(targets)})
        self.groups = nn.ModuleList(groups)
        self.noise_per_gene = noise_per_gene
        order = torch.tensor([row[gene] for gene in graph.genes])
        self.register_buffer("order", order, persistent=False)

    @property
    def target_names(self) -> Sequence[str]:
        return [target for targets in self.group_targets for target in targets]

    def forward(self, roots: Tensor, noise: Tensor) -> Tensor:
        """Whole cells, before the library-size layer.

        Parameters
        ----------
        roots
            Expression of the root TFs, shape ``(n_cells, n_roots)``.
        noise
            Shape ``(n_targets, noise_per_gene, n_cells)``, in the order of ``target_names``.

        Returns
        -------
        Shape ``(n_cells, n_genes)``, in the order of ``graph.genes``.
        """
        genes = roots.t().contiguous()
        per_group = noise.split([len(targets) for targets in self.group_targets])
        for group, group_noise in zip(self.groups, per_group, strict=True):
            genes = torch.cat([genes, group(genes, group_noise)])
        return genes.index_select(0, self.order).t()
