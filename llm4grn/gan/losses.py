"""The Wasserstein loss with gradient penalty of a ReLU critic, its gradients written out (Gulrajani et al. 2017)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from llm4grn.gan.networks import Critic


class CriticLoss(NamedTuple):
    """Value of the critic's loss; both are scalars on the device, so that no step waits for them."""

    loss: Tensor
    gradient_penalty: Tensor


@torch.no_grad()
def critic_gradients(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    epsilon: Tensor,
    penalty_weight: float,
    dtype: torch.dtype | None = None,
    n_total: int | None = None,
) -> tuple[CriticLoss, list[Tensor]]:
    r"""Loss of the critic and its gradient for each parameter, in the order of ``critic.parameters()``.

    .. math:: \bar D(fake) - \bar D(real) + \lambda\, \overline{(\lVert \nabla_x D(x) \rVert - 1)^2},
              \quad x = \epsilon\, real + (1 - \epsilon)\, fake

    The slope of a ReLU critic is a product of its weights, each masked by the units that are active:
    :math:`\nabla_x D = W_1^T M_1 W_2^T M_2 \cdots w`. So the penalty is differentiated here by the chain rule through
    that product, with no second backward pass, and the same product gives the gradient of the scores: real, fake and
    interpolated cells go forward and back as one batch. The first layer, the widest, is linear in the cells, so its
    output for interpolated cells is interpolated, too. The tests hold this against automatic differentiation.

    Parameters
    ----------
    critic
        It is not changed.
    real, fake
        Cells, shape ``(n_cells, n_genes)`` each.
    epsilon
        Uniform in [0, 1), shape ``(n_cells, 1)``.
    penalty_weight
        :math:`\lambda`, 10 in the paper.
    dtype
        Of the matrix products and of what is kept between them; ``None``: that of the weights.
    n_total
        Cells that the means are over, if these are a share of them: sums over all shares are then loss and gradient.
    """
    n, n_total = len(real), n_total or len(real)
    weights = [layer.weight.to(dtype or real.dtype) for layer in critic.layers[:-1]]
    last = critic.layers[-1]
    inputs = _activations(critic, weights, real, fake, epsilon)
    scores = last(inputs[-1][: 2 * n].to(last.weight.dtype))
    active = [x > 0 for x in inputs[1:]]
    slopes = _slopes(weights, last.weight, active, 3 * n)

    slope_at_cells = (slopes[1][2 * n :] @ weights[0]).to(real.dtype)
    norm = slope_at_cells.norm(dim=1, keepdim=True)
    penalty = (norm - 1).square().sum() / n_total
    # From here on n_total times the gradient, so that no mean is rounded to dtype. First d penalty / d slope; a slope
    # of exactly zero has no direction, so its gradient is taken as zero (as torch does).
    upstream = slope_at_cells * (2 * penalty_weight * (norm - 1) / norm.clamp_min(1e-30))
    gradients: list[Tensor] = []
    sign = torch.cat([torch.full_like(norm, -1), torch.ones_like(norm)])  # of the scores of real and of fake cells
    for depth in range(1, len(inputs)):
        # one product for both terms: scores on real and fake cells, penalty in the rows of the interpolated ones
        slopes[depth][: 2 * n] *= sign
        inputs[depth - 1][2 * n :] = upstream
        gradients.append((slopes[depth].t() @ inputs[depth - 1]).to(real.dtype).div_(n_total))
        gradients.append(slopes[depth][: 2 * n].sum(dim=0, dtype=real.dtype).div_(n_total))
        upstream = (inputs[depth - 1][2 * n :] @ weights[depth - 1].t()) * active[depth - 1][2 * n :]
    ends = sign.t() @ inputs[-1][: 2 * n].to(real.dtype) + upstream.sum(dim=0, keepdim=True, dtype=real.dtype)
    gradients += [ends.div_(n_total), sign.sum(dim=0) / n_total]
    return CriticLoss((scores * sign).sum() / n_total + penalty_weight * penalty, penalty), gradients


def _activations(
    critic: Critic, weights: Sequence[Tensor], real: Tensor, fake: Tensor, epsilon: Tensor
) -> list[Tensor]:
    """What goes into each layer, for real, fake and interpolated cells; the last third of the cells is left empty.

    It is room for the penalty's gradient on its way back: nobody needs the interpolated cells themselves.
    """
    n, dtype = len(real), weights[0].dtype
    cells = real.new_empty(3 * n, real.shape[1], dtype=dtype)
    cells[:n], cells[n : 2 * n] = real, fake
    hidden = F.linear(cells[: 2 * n], weights[0], critic.layers[0].bias.to(dtype))
    hidden = torch.cat([hidden, torch.lerp(hidden[n:], hidden[:n], epsilon.to(dtype))])
    inputs = [cells, torch.relu_(hidden)]
    for layer, weight in zip(critic.layers[1:-1], weights[1:], strict=True):
        inputs.append(torch.relu_(F.linear(inputs[-1], weight, layer.bias.to(dtype))))
    return inputs


def _slopes(weights: Sequence[Tensor], last: Tensor, active: Sequence[Tensor], n_cells: int) -> list[Tensor]:
    """By layer, from 1: derivatives of the scores with respect to what comes out of the layer before its ReLU."""
    slopes: list[Tensor] = [torch.empty(0)] * (len(active) + 1)
    slope = last.to(weights[0].dtype).expand(n_cells, -1)
    for depth in range(len(active), 0, -1):
        slope = slope * active[depth - 1]
        slopes[depth] = slope
        if depth > 1:
            slope = slope @ weights[depth - 1]
    return slopes
