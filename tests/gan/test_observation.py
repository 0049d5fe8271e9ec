"""Counts that are seen of expected expression: their distribution, their derivative, and pairs for interventions."""

import pytest
import torch
from scipy import stats

from llm4grn.gan.observation import N_DEPTHS, Observation
from llm4grn.gan.training_cells import DenseCells

LIBRARY_SIZE = 20_000.0


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scaled(counts: torch.Tensor) -> torch.Tensor:
    return counts * (LIBRARY_SIZE / counts.sum(dim=1, keepdim=True))


def at_depth(depth: float) -> Observation:
    observation = Observation()
    observation.depths.fill_(depth)
    return observation


def test_depths_are_those_of_the_training_cells():
    counts = torch.poisson(torch.rand(300, 40, generator=random()) * 8, generator=random(1))
    counts[:, 0] = 1  # in each cell there is a gene with one count
    observation = Observation()
    observation.fit(DenseCells(scaled(counts)))
    depths = counts.sum(dim=1).double()
    at = (torch.arange(N_DEPTHS, dtype=torch.float64) + 0.5) / N_DEPTHS
    torch.testing.assert_close(observation.depths.double(), torch.quantile(depths, at), rtol=1e-4, atol=0)


def test_depths_of_cells_in_which_no_gene_has_a_single_count():
    counts = torch.poisson(torch.rand(300, 40, generator=random()) * 60 + 9, generator=random(1))
    assert (counts.amin(dim=1) > 1).float().mean() > 0.9
    observation = Observation()
    observation.fit(DenseCells(scaled(counts)))
    at = (torch.arange(N_DEPTHS, dtype=torch.float64) + 0.5) / N_DEPTHS
    torch.testing.assert_close(
        observation.depths.double(), torch.quantile(counts.sum(dim=1).double(), at), rtol=1e-4, atol=0
    )


def test_cells_that_are_no_counts_have_a_depth_nonetheless():
    cells = scaled(torch.rand(50, 40, generator=random()) + 0.5)
    observation = Observation()
    observation.fit(DenseCells(cells))
    lowest = torch.quantile((cells.sum(dim=1) / cells.amin(dim=1)).double(), torch.tensor([0.0, 1.0]).double())
    assert (observation.depths >= lowest[0]).all()
    assert (observation.depths <= lowest[1]).all()


def test_what_is_seen_are_poisson_counts_scaled_to_the_library_size():
    expected = scaled(torch.tensor([[0.0, 0.5, 1.0, 3.0, 40.0]])).expand(20_000, -1)
    depth = 60.0
    cells = at_depth(depth)(expected, random())
    torch.testing.assert_close(cells.sum(dim=1), torch.full((len(cells),), LIBRARY_SIZE))
    counts = cells / (LIBRARY_SIZE / depth)  # up to the scatter of the number of counts
    assert (cells[:, 0] == 0).all()
    rates = expected[0] * depth / LIBRARY_SIZE
    for gene in 1, 2, 3:
        zeros = (cells[:, gene] == 0).double().mean().item()
        assert zeros == pytest.approx(stats.poisson.pmf(0, rates[gene].item()), abs=4 * 0.5 / 20_000**0.5)
        assert counts[:, gene].mean().item() == pytest.approx(rates[gene].item(), rel=0.05)


def test_deep_cells_show_what_is_expected_of_them():
    expected = scaled(torch.rand(5, 30, generator=random()) + 0.1)
    torch.testing.assert_close(at_depth(1e9)(expected, random()), expected, rtol=1e-3, atol=0)


def test_a_cell_without_expression_stays_empty_and_makes_no_gap_in_the_gradient():
    expected = torch.zeros(2, 3, requires_grad=True)
    (view,) = at_depth(50.0).views(expected, [torch.log1p], random())
    view.sum().backward()
    assert (view == 0).all()
    assert torch.isfinite(expected.grad).all()


@pytest.mark.parametrize("space", [torch.log1p, lambda cells: cells], ids=["log1p", "counts"])
def test_the_gradient_is_that_of_the_expectation(space):
    """Of a gene among many others, so that its counts hardly change the scale."""
    depth, n, rate = 1000.0, 100_000, 0.8
    x = rate * LIBRARY_SIZE / depth
    expected = torch.tensor([[x, LIBRARY_SIZE - x]]).repeat(n, 1).requires_grad_()
    (view,) = at_depth(depth).views(expected, [space], random())
    view[:, 0].sum().backward()

    k, one = torch.arange(60.0), LIBRARY_SIZE / depth

    def mean(rate: float) -> float:
        return float((torch.tensor(stats.poisson.pmf(k.numpy(), rate)) * space(k * one)).sum())

    slope = (mean(rate + 1e-3) - mean(rate - 1e-3)) / (2e-3 * one)
    assert expected.grad[:, 0].mean().item() == pytest.approx(slope, rel=0.02)
    assert (expected.grad[:, 1] == 0).all()


def test_a_pair_has_the_same_counts_wherever_nothing_was_changed():
    before = scaled(torch.rand(4000, 4, generator=random()) + 0.2)
    after = before.clone()
    after[:, 0], after[:, 1], after[:, 2] = 0, 0.5 * before[:, 1], 3 * before[:, 2]
    observation = at_depth(200.0)
    first, second = observation.pair(before, after, random(3))
    assert torch.equal(first, observation(before, random(3)))
    assert torch.equal(first[:, 3], second[:, 3])
    assert (second[:, 0] == 0).all()
    assert (second[:, 1] <= first[:, 1]).all()
    assert (second[:, 2] >= first[:, 2]).all()
    ratio = second.mean(dim=0) / first.mean(dim=0)
    torch.testing.assert_close(ratio, torch.tensor([0.0, 0.5, 3.0, 1.0]), rtol=0.02, atol=1e-6)
