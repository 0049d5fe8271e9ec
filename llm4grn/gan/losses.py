"""The Wasserstein loss with gradient penalty of a ReLU critic, with explicit gradients (Gulrajani et al. 2017)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from llm4grn.gan.networks import Critic


class CriticLoss(NamedTuple):
    """Critic loss and its gradient penalty, as scalars on the device, so that no step waits for a transfer."""

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
    r"""Compute the critic's loss and its gradients, in the order of ``critic.parameters()``.

    .. math:: \bar D(fake) - \bar D(real) + \lambda\, \overline{(\lVert \nabla_x D(x) \rVert - 1)^2},
              \quad x = \epsilon\, real + (1 - \epsilon)\, fake

    The input gradient of a ReLU critic is a product of its weights, each masked by the active units:
    :math:`\nabla_x D = W_1^T M_1 W_2^T M_2 \cdots w`. The penalty is therefore differentiated here by the chain rule
    through that product, without a second backward pass. The same product gives the gradient of the scores, so real,
    fake and interpolated cells pass forward and backward as one batch. The first and widest layer is linear in the
    cells, so its output for interpolated cells is interpolated, too. The tests compare this function with automatic
    differentiation.

    Parameters
    ----------
    critic
        The critic; it is not changed.
    real, fake
        Cells, shape ``(n_cells, n_genes)`` each.
    epsilon
        Uniform in [0, 1), shape ``(n_cells, 1)``.
    penalty_weight
        :math:`\lambda`, 10 in the paper.
    dtype
        Data type of the matrix products and the intermediate results; ``None``: that of the weights.
    n_total
        Number of cells that the means are taken over, if ``real`` and ``fake`` are only a rank's share of them. Loss
        and gradients are then sums over the ranks of what is returned.
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
    # From here on, gradients are multiplied by n_total, so that no mean is rounded to dtype. The first one is
    # d penalty / d slope; a slope of exactly zero has no direction, so its gradient is zero, as in torch.
    upstream = slope_at_cells * (2 * penalty_weight * (norm - 1) / norm.clamp_min(1e-30))
    gradients: list[Tensor] = []
    sign = torch.cat([torch.full_like(norm, -1), torch.ones_like(norm)])  # of the scores of real and of fake cells
    for depth in range(1, len(inputs)):
        # One product computes both terms: scores in the rows of real and fake cells, penalty in the interpolated ones.
        slopes[depth][: 2 * n] *= sign
        inputs[depth - 1][2 * n :] = upstream
        gradients.append((slopes[depth].t() @ inputs[depth - 1]).to(real.dtype).div_(n_total))
        gradients.append(slopes[depth][: 2 * n].sum(dim=0, dtype=real.dtype).div_(n_total))
        upstream = (inputs[depth - 1][2 * n :] @ weights[depth - 1].t()) * active[depth - 1][2 * n :]
    last_gradient = sign.t() @ inputs[-1][: 2 * n].to(real.dtype) + upstream.sum(dim=0, keepdim=True, dtype=real.dtype)
    gradients += [last_gradient.div_(n_total), sign.sum(dim=0) / n_total]
    return CriticLoss((scores * sign).sum() / n_total + penalty_weight * penalty, penalty), gradients


def _activations(
    critic: Critic, weights: Sequence[Tensor], real: Tensor, fake: Tensor, epsilon: Tensor
) -> list[Tensor]:
    """Return the input of each layer for real, fake and interpolated cells; the interpolated input cells stay empty.

    Nothing needs the interpolated cells themselves: their rows hold the penalty's gradient in the backward pass.
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
    """Return, for each layer from 1, the derivatives of the scores with respect to the layer's output before ReLU."""
    slopes: list[Tensor] = [torch.empty(0)] * (len(active) + 1)
    slope = last.to(weights[0].dtype).expand(n_cells, -1)
    for depth in range(len(active), 0, -1):
        slope = slope * active[depth - 1]
        slopes[depth] = slope
        if depth > 1:
            slope = slope @ weights[depth - 1]
    return slopes
