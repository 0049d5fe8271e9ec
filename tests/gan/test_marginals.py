"""Where a preconditioned generator starts."""

import torch
from scipy.stats import norm

from llm4grn.gan.marginals import rectified_gaussians, rescale_output
from llm4grn.gan.networks import CellGenerator


def some_cells(n_cells=5000, n_genes=7):
    random = torch.Generator().manual_seed(1)
    spread = torch.linspace(1, 500, n_genes)
    return spread * torch.relu(torch.linspace(-1.5, 3, n_genes) + torch.randn(n_cells, n_genes, generator=random))


def test_share_and_mean_of_the_rectified_gaussian_are_the_genes():
    cells = some_cells()
    found = rectified_gaussians(cells)
    offset, unit = found.offset.double().numpy(), found.unit.double().numpy()
    share = (cells > 0).double().mean(dim=0).clamp(0.005, 0.998)
    torch.testing.assert_close(torch.from_numpy(norm.cdf(offset)), share, rtol=1e-5, atol=0)
    # mean of the rectified Gaussian by integration, not by the formula of the code
    means = [norm.expect(lambda z, a=a: max(z + a, 0), lb=-a) * u for a, u in zip(offset, unit, strict=True)]
    torch.testing.assert_close(torch.tensor(means), cells.double().mean(dim=0), rtol=1e-4, atol=1e-6)


def test_genes_that_all_or_no_cells_express():
    cells = torch.tensor([[5.0, 0.0], [7.0, 0.0], [6.0, 0.0]])
    found = rectified_gaussians(cells)
    assert torch.isfinite(found.offset).all()
    assert found.unit[0] > 0
    assert found.unit[1] == 0


def test_rescaled_output_has_the_offset_and_spread():
    torch.manual_seed(0)
    weight, bias, offset = torch.randn(4, 9), torch.randn(4), torch.tensor([-1.0, 0.0, 0.5, 2.0])
    hidden = torch.randn(9, 3000).relu() * 3 + 1
    before = weight @ hidden + bias[:, None]
    rescale_output(before, weight, bias, offset)
    after = weight @ hidden + bias[:, None]
    torch.testing.assert_close(after.mean(dim=1), offset, rtol=0, atol=1e-4)
    torch.testing.assert_close(after.std(dim=1), torch.ones(4))
    assert torch.corrcoef(torch.stack([before[0], after[0]]))[0, 1] > 0.9999


def test_untrained_controller_generates_the_marginals():
    torch.manual_seed(0)
    cells = some_cells()
    generator = CellGenerator(16, [64, 64], cells.shape[1])
    generator.start_at(rectified_gaussians(cells), torch.randn(4000, 16))
    with torch.no_grad():
        generated = generator(torch.randn(4000, 16))
    share, wanted = ((x > 0).float().mean(dim=0) for x in (generated, cells))
    assert (share - wanted).abs().max() < 0.06
    torch.testing.assert_close(generated.mean(dim=0), cells.mean(dim=0), rtol=0.15, atol=0.5)
