"""``do()`` on trained-shape generators over a layered graph: who changes, who does not, and by how much."""

import pytest
import torch
from target_reference import reference_networks

from llm4grn.errors import UserError
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import CausalGANHyperparameters
from llm4grn.gan.interventions import Intervention, parse_interventions
from llm4grn.gan.networks import CellGenerator
from llm4grn.grn import CausalGraph

GRAPH = CausalGraph(
    ("A", "B", "mid", "low", "lowest", "other"),
    {"mid": ("A",), "low": ("mid", "B"), "lowest": ("low",), "other": ("B",)},
)
LIBRARY_SIZE = 100.0


def made(preconditioned: bool) -> CausalGAN:
    hyper = CausalGANHyperparameters(
        steps=1,
        batch_size=32,
        critic_layers=[4],
        labeler_layers=[4],
        generator_lr=[1, 1],
        critic_lr=[1, 1],
        preconditioned=preconditioned,
    )
    torch.manual_seed(0)
    cells = torch.rand(60, 6) * torch.tensor([1.0, 3.0, 10.0, 30.0, 2.0, 0.5])  # each gene of a size of its own
    cells = cells / cells.sum(dim=1, keepdim=True) * LIBRARY_SIZE
    return CausalGAN(cells, GRAPH, CellGenerator(3, [8], 6), hyper, LIBRARY_SIZE, seed=0)


@pytest.fixture(params=[False, True], ids=["plain", "preconditioned"])
def gan(request):
    gan = made(request.param)
    with torch.no_grad():
        gan.generator.controller.output.bias += 2  # roots that are expressed
        for group in gan.generator.target_generators.groups:
            group.bias += 3  # above the ReLU, so that a change of the inputs shows
    assert request.param == (not torch.allclose(gan.generator.target_generators.units, torch.ones(6, 1)))
    return gan


def changed(before, after) -> set[str]:
    return {gene for gene, moved in zip(GRAPH.genes, (before != after).any(dim=0), strict=True) if moved}


@pytest.mark.parametrize("gene", GRAPH.genes)
def test_only_the_gene_and_its_descendants_change(gan, gene):
    before, after = gan.do([Intervention(gene, 0, False)], 50, seed=1)
    assert changed(before, after) == {gene} | GRAPH.descendants([gene])
    assert (after[:, GRAPH.genes.index(gene)] == 0).all()


def test_before_is_what_is_generated_and_nothing_done_changes_nothing(gan):
    before, after = gan.do([], 50, seed=1)
    assert torch.equal(before, after)
    assert torch.equal(before, gan.generate(50, seed=1))
    assert torch.equal(gan.do([Intervention("A", 1, True)], 50, seed=1)[1], before)


def test_amounts_are_counts_of_the_scaled_cell_and_multiples_of_its_own(gan):
    do = [Intervention("A", 12.5, False), Intervention("low", 3, True)]
    before, after = gan.do(do, 50, seed=1)
    torch.testing.assert_close(after[:, 0], torch.full((50,), 12.5))
    torch.testing.assert_close(after[:, 3], 3 * before[:, 3])
    assert changed(before, after) == {"A", "mid", "low", "lowest"}


@pytest.mark.parametrize("gene", GRAPH.genes)
def test_a_gene_that_is_set_to_what_it_expresses_anyway_changes_nothing(gan, gene):
    """One count is one count, whatever units a preconditioned generator computes in: descendants see no other value."""
    (noise,) = gan.noise_batches(32, seed=1)
    with torch.no_grad():
        before = gan.generator(noise)
        own = before[:, GRAPH.genes.index(gene)]
    for cell in range(3):
        _, after = gan.do([Intervention(gene, own[cell].item(), False)], 32, seed=1)
        torch.testing.assert_close(after[cell], before[cell], rtol=1e-4, atol=1e-3)


def test_what_follows_a_gene_is_computed_from_counts(gan):
    """Of descendants: their networks, one by one and in plain torch, on the counts that were set."""
    generators = gan.generator.target_generators
    for group in generators.groups:  # those of the networks it is compared with
        group.running_mean.zero_()
        group.running_var.fill_(1)
    networks = reference_networks(generators)
    (noise,) = gan.noise_batches(32, seed=1)
    with torch.no_grad():
        roots = gan.generator.controller(noise.controller)
        before = generators(roots, noise.targets)
        scale = LIBRARY_SIZE / before.sum(dim=1, keepdim=True)
        _, after = gan.do([Intervention("mid", 5.0, False)], 32, seed=1)
        units = {gene: generators.units[row, 0] for gene, row in generators.row.items()}
        given = {"mid": 5.0 / scale[:, 0], "B": before[:, GRAPH.genes.index("B")]}
        inputs = [(given[gene] / units[gene])[:, None] for gene in GRAPH.regulators["low"]]
        own = noise.targets[list(generators.target_names).index("low")].t()
        low = networks["low"].eval()(torch.cat([*inputs, own], dim=1))[:, 0] * units["low"] * scale[:, 0]
    torch.testing.assert_close(after[:, GRAPH.genes.index("low")], low, rtol=1e-4, atol=1e-4)


def test_interventions_are_read_as_written():
    assert parse_interventions({"A": 0, "B": "3.2x", "mid": "1e2"}, GRAPH.genes) == (
        Intervention("A", 0, False),
        Intervention("B", 3.2, True),
        Intervention("mid", 100, False),
    )


@pytest.mark.parametrize("do", [{}, {"nobody": 0}, {"A": "much"}, {"A": -1}, {"A": "nanx"}, {"A": True}, {"A": None}])
def test_what_cannot_be_done_is_refused(do):
    with pytest.raises(UserError, match="do"):
        parse_interventions(do, GRAPH.genes)
