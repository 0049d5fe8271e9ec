"""All target generators together against the obvious way."""

import pytest
import torch
from target_reference import GRAPHS, reference_cells, reference_networks
from torch import nn

from llm4grn.gan.marginals import rectified_gaussians
from llm4grn.gan.target_generators import TargetGenerators, TargetGroup, rectify
from llm4grn.grn import CausalGraph


@pytest.mark.parametrize("batch_size", [9, 3], ids=["one batch", "three batches"])
@pytest.mark.parametrize("by_operators", [False, True], ids=["fused", "operators"])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize(("noise_per_gene", "depth", "width"), [(1, 2, 1), (2, 0, 1), (3, 1, 2)])
def test_same_as_one_network_per_target(graph, noise_per_gene, depth, width, by_operators, batch_size, monkeypatch):
    """Cells, gradients of every weight, and cells under the running statistics."""
    if by_operators:
        monkeypatch.setattr(TargetGroup, "forward", TargetGroup.forward_by_operators)
    torch.manual_seed(0)
    generators = TargetGenerators(graph, noise_per_gene, depth, width).double()
    for parameter in generators.parameters():  # away from the initial ones and zeros of BatchNorm
        parameter.data += 0.1 * torch.randn_like(parameter)
    networks = reference_networks(generators)
    n_cells, names = 9, list(generators.target_names)
    roots = torch.rand(n_cells, len(graph.tf_names), dtype=torch.float64)
    noise = torch.randn(len(names), noise_per_gene, n_cells, dtype=torch.float64)

    ours = generators(roots, noise, batch_size)
    theirs = torch.cat(
        [
            reference_cells(graph, networks, names, batch_roots, dict(zip(names, batch_noise, strict=True)))
            for batch_roots, batch_noise in zip(roots.split(batch_size), noise.split(batch_size, dim=2), strict=True)
        ]
    )
    torch.testing.assert_close(ours, theirs)
    assert (theirs > 0).any()

    upstream = torch.randn_like(ours)
    ours.backward(upstream)
    theirs.backward(upstream)
    for group, targets in zip(generators.groups, generators.group_targets, strict=True):
        for i, target in enumerate(targets):
            linears = [layer for layer in networks[target] if isinstance(layer, nn.Linear)]
            norms = [layer for layer in networks[target] if isinstance(layer, nn.BatchNorm1d)]
            inner = group.inner.grad if depth else []
            for gradient, linear in zip([group.first.grad, *inner], linears[:-1], strict=True):
                torch.testing.assert_close(gradient[i], linear.weight.grad)
            for gamma, beta, norm in zip(group.gamma.grad, group.beta.grad, norms, strict=True):
                torch.testing.assert_close(gamma[i], norm.weight.grad)
                torch.testing.assert_close(beta[i], norm.bias.grad)
            torch.testing.assert_close(group.last.grad[i], linears[-1].weight.grad[0])
            torch.testing.assert_close(group.bias.grad[i], linears[-1].bias.grad[0])

    # and with the running statistics that this pass left behind
    generators.eval()
    for network in networks.values():
        network.eval()
    torch.testing.assert_close(
        generators(roots, noise), reference_cells(graph, networks, names, roots, dict(zip(names, noise, strict=True)))
    )


def test_a_target_depends_on_its_regulators_and_its_own_noise_only():
    graph = GRAPHS["uneven"]
    torch.manual_seed(0)
    generators = TargetGenerators(graph)
    with torch.no_grad():
        for group in generators.groups:
            group.bias += 1.0  # above the ReLU, so that a change shows
    generators.eval()
    roots, noise = torch.rand(5, 3), torch.randn(4, 1, 5)
    before = generators(roots, noise)
    moved = roots.clone()
    moved[:, graph.tf_names.index("A")] += 1
    changed = (generators(moved, noise) != before).any(dim=0)
    assert [gene for gene, c in zip(graph.genes, changed, strict=True) if c] == ["A", "t1", "t3"]

    other_noise = noise.clone()
    other_noise[list(generators.target_names).index("t2")] += 1
    changed = (generators(roots, other_noise) != before).any(dim=0)
    assert [gene for gene, c in zip(graph.genes, changed, strict=True) if c] == ["t2"]


def test_parameters_grow_with_edges_not_with_their_square():
    def n_parameters(n_targets: int) -> int:
        genes = tuple(f"tf{i}" for i in range(20)) + tuple(f"t{i}" for i in range(n_targets))
        tfs = genes[:10]
        generators = TargetGenerators(CausalGraph(genes, {gene: tfs for gene in genes[20:]}))
        return sum(parameter.numel() for parameter in generators.parameters())

    assert n_parameters(200) == 2 * n_parameters(100)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_units_are_another_name_for_the_same_networks(graph):
    """Reading and writing genes in units u equals first weights divided and last weights multiplied by them."""
    torch.manual_seed(0)
    in_units, in_counts = TargetGenerators(graph).double(), TargetGenerators(graph).double()
    units = 0.1 + 10 * torch.rand(len(graph.genes), dtype=torch.float64)
    unit = dict(zip(graph.genes, units, strict=True))
    in_units.units[in_units.order, 0] = units
    in_counts.load_state_dict({**in_units.state_dict(), "units": torch.ones(len(graph.genes), 1, dtype=torch.float64)})
    with torch.no_grad():
        for group, targets in zip(in_counts.groups, in_counts.group_targets, strict=True):
            for i, target in enumerate(targets):
                for r, tf in enumerate(graph.regulators[target]):
                    group.first[i, :, r] /= unit[tf]
                group.last[i] *= unit[target]
                group.bias[i] *= unit[target]
    roots = torch.rand(7, len(graph.tf_names), dtype=torch.float64) * 20
    noise = torch.randn(len(in_units.target_names), 1, 7, dtype=torch.float64)
    torch.testing.assert_close(in_units(roots, noise), in_counts(roots, noise))


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_start_at_marginals(graph):
    """Before any training, what goes into the last ReLU of a target has the offset and the spread of its marginal."""
    torch.manual_seed(0)
    n_genes, n_cells = len(graph.genes), 20_000
    real = torch.linspace(1, 50, n_genes) * torch.relu(torch.linspace(-1, 1, n_genes) + torch.randn(n_cells, n_genes))
    generators = TargetGenerators(graph)
    is_root = torch.tensor([gene in graph.tf_names for gene in graph.genes])
    position = {gene: i for i, gene in enumerate(graph.genes)}
    roots = real[:, [position[tf] for tf in graph.tf_names]]
    noise = torch.randn(len(generators.target_names), 1, n_cells)
    marginals = rectified_gaussians(real)
    generators.start_at(marginals, roots, noise)
    genes, per_group = generators._inputs(roots, noise)
    with torch.no_grad():
        for group, targets, group_noise in zip(generators.groups, generators.group_targets, per_group, strict=True):
            before_relu = group.pre_activation(genes, group_noise)
            wanted = marginals.of(torch.tensor([position[target] for target in targets]))
            torch.testing.assert_close(before_relu.mean(dim=1), wanted.offset, rtol=0, atol=1e-3)
            torch.testing.assert_close(before_relu.std(dim=1), torch.ones(len(targets)), rtol=0, atol=1e-3)
            genes = torch.cat([genes, before_relu.relu()])
        cells = generators(roots, noise)
    unit = marginals.unit[~is_root]
    assert ((cells.mean(dim=0) - real.mean(dim=0))[~is_root] / unit).abs().max() < 0.2


@pytest.mark.parametrize("width", [1, 8], ids=["small", "wide enough for threads within one product"])
def test_the_number_of_threads_changes_nothing(width):
    genes = [f"g{i:03d}" for i in range(204)]
    graph = CausalGraph(tuple(genes), {gene: tuple(genes[:4]) for gene in genes[4:]})
    torch.manual_seed(0)
    generators = TargetGenerators(graph, width=width)
    roots, noise = torch.rand(1024, 4), torch.randn(200, 1, 1024)
    results, threads = [], torch.get_num_threads()
    for n_threads in 1, 2:
        torch.set_num_threads(n_threads)
        try:
            cells = generators(roots, noise)
            (gradient,) = torch.autograd.grad(cells.square().sum(), generators.groups[0].first)
        finally:
            torch.set_num_threads(threads)
        results.append((cells.detach(), gradient))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize("by_operators", [False, True], ids=["fused", "operators"])
def test_a_silent_gene_is_revived(by_operators, monkeypatch):
    """Its gradient is that of the network without the last ReLU; genes that some cell expresses have that of ReLU."""
    if by_operators:
        monkeypatch.setattr(TargetGroup, "forward", TargetGroup.forward_by_operators)
    graph = GRAPHS["uneven"]
    torch.manual_seed(0)
    plain, reviving = TargetGenerators(graph).double(), TargetGenerators(graph, revive=True).double()
    silent = "t2"
    with torch.no_grad():
        for group, targets in zip(plain.groups, plain.group_targets, strict=True):
            group.bias.fill_(0.3)
            if silent in targets:
                group.bias[targets.index(silent)] = -1e3
    reviving.load_state_dict(plain.state_dict())
    roots, noise = torch.rand(9, 3, dtype=torch.float64), torch.randn(4, 1, 9, dtype=torch.float64)
    upstream = torch.randn(9, len(graph.genes), dtype=torch.float64)
    for generators in plain, reviving:
        cells = generators(roots, noise)
        assert not cells[:, graph.genes.index(silent)].any()
        cells.backward(upstream)
    for group, other, targets in zip(plain.groups, reviving.groups, plain.group_targets, strict=True):
        for i, target in enumerate(targets):
            if target == silent:
                assert not group.bias.grad[i]
                torch.testing.assert_close(other.bias.grad[i], upstream[:, graph.genes.index(silent)].sum())
                assert other.first.grad[i].any()
            else:
                torch.testing.assert_close(other.first.grad[i], group.first.grad[i])
                torch.testing.assert_close(other.bias.grad[i], group.bias.grad[i])


def test_a_gene_just_below_zero_is_silent_and_one_that_a_cell_expresses_is_not():
    values = torch.tensor([[-0.5, -0.25, 0.0], [-0.5, 0.25, 0.0]], requires_grad=True)
    seen = rectify(values, revive=True)
    assert seen.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.25, 0.0]]
    seen.sum().backward()
    assert values.grad.tolist() == [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]


def test_weights_begin_xavier_uniform_within_each_network():
    """Glorot and Bengio 2010: variance 2 / (inputs + outputs), and none beyond sqrt(6 / (inputs + outputs))."""
    tfs = [f"tf{i}" for i in range(10)]
    targets = [f"t{i}" for i in range(200)]
    torch.manual_seed(0)
    (group,) = TargetGenerators(
        CausalGraph((*tfs, *targets), {target: tuple(tfs) for target in targets}), 2, 2, 2
    ).groups
    for weights in group.first, group.inner:
        n_outputs, n_inputs = weights.shape[-2:]
        bound = (6 / (n_inputs + n_outputs)) ** 0.5
        assert 0.99 * bound < weights.abs().max() <= bound
        assert weights.var().item() == pytest.approx(2 / (n_inputs + n_outputs), rel=0.05)
