"""The obvious way to compute the target genes: one small ``nn.Sequential`` per target, by name."""

import torch
from torch import nn

from llm4grn.gan.target_generators import TargetGenerators
from llm4grn.grn import CausalGraph

GRAPHS = {
    "uneven": CausalGraph(
        ("A", "t1", "B", "t2", "C", "t3", "t4"),
        {"t1": ("A", "B"), "t2": ("C",), "t3": ("C", "A", "B"), "t4": ("B", "C")},
    ),
    "layered": CausalGraph(
        ("A", "B", "tf1", "tf2", "x", "y"),
        {"tf1": ("A",), "tf2": ("A", "tf1"), "x": ("tf2", "B"), "y": ("B", "A")},
    ),
}


def reference_networks(generators: TargetGenerators) -> dict[str, nn.Sequential]:
    """One network per target with the weights that the batched computation holds for it."""
    networks = {}
    for group, targets in zip(generators.groups, generators.group_targets, strict=True):
        for i, target in enumerate(targets):
            layers: list[nn.Module] = []
            for weight, gamma, beta in zip([group.first, *group.inner], group.gamma, group.beta, strict=True):
                n_out, n_in = weight.shape[1:]
                linear, batch_norm = nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out)
                linear.weight.data = weight[i].detach().clone()
                batch_norm.weight.data = gamma[i].detach().clone()
                batch_norm.bias.data = beta[i].detach().clone()
                layers += [linear, batch_norm, nn.ReLU()]
            last = nn.Linear(group.last.shape[1], 1)
            last.weight.data = group.last[i : i + 1].detach().clone()
            last.bias.data = group.bias[i : i + 1].detach().clone()
            networks[target] = nn.Sequential(*layers, last, nn.ReLU()).to(weight.dtype)
    return networks


def reference_cells(graph, networks, order, roots, noise):
    values = {tf: roots[:, i] for i, tf in enumerate(graph.tf_names)}
    for target in order:  # regulators come before what they regulate
        inputs = [values[tf] for tf in graph.regulators[target]] + list(noise[target])
        values[target] = networks[target](torch.stack(inputs, dim=1)).squeeze(1)
    return torch.stack([values[gene] for gene in graph.genes], dim=1)
