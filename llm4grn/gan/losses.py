"""The Wasserstein loss with gradient penalty of a ReLU critic, its gradients written out (Gulrajani et al. 2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llm4grn.gan.networks import Critic


@dataclass(frozen=True)
class CriticLoss:
    """Value of the critic's loss; both are scalars on the device, so that no step waits for them."""

    loss: Tensor
    gradient_penalty: Tensor


@torch.no_grad()
def critic_backward(critic: Critic, real: Tensor, fake: Tensor, epsilon: Tensor, penalty_weight: float) -> CriticLoss:
    r"""Loss of the critic and, into ``.grad`` of its parameters, the gradient.

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
        Its gradients are overwritten, not accumulated.
    real, fake
        Cells, shape ``(n_cells, n_genes)`` each.
    epsilon
        Uniform in [0, 1), shape ``(n_cells, 1)``.
    penalty_weight
        :math:`\lambda`, 10 in the paper.
    """
    n = len(real)
    weights = [layer.weight for layer in critic.layers]
    cells = real.new_empty(3 * n, real.shape[1])  # the last third is filled on the way back
    torch.cat([real, fake], out=cells[: 2 * n])
    hidden = critic.layers[0](cells[: 2 * n])
    hidden = torch.cat([hidden, torch.lerp(hidden[n:], hidden[:n], epsilon)])

    inputs = [cells, torch.relu_(hidden)]  # inputs[l] goes into layer l; ReLU's output tells which units are active
    for layer in critic.layers[1:-1]:
        inputs.append(torch.relu_(layer(inputs[-1])))
    scores = critic.layers[-1](inputs[-1][: 2 * n])

    slopes: list[Tensor] = [torch.empty(0)] * len(inputs)  # slopes[l] = dD / d(pre-activation of layer l - 1), l >= 1
    active = [x > 0 for x in inputs[1:]]
    slope = weights[-1].expand(3 * n, -1)
    for depth in range(len(inputs) - 1, 0, -1):
        slope = slope * active[depth - 1]
        slopes[depth] = slope
        if depth > 1:
            slope = slope @ weights[depth - 1]

    sign = torch.cat([scores.new_full((n, 1), -1 / n), scores.new_full((n, 1), 1 / n)])
    slope_at_cells = slopes[1][2 * n :] @ weights[0]
    norm = slope_at_cells.norm(dim=1, keepdim=True)
    penalty = (norm - 1).square().mean()
    # d penalty / d slope; a slope of exactly zero has no direction, so its gradient is taken as zero (as torch does)
    upstream = slope_at_cells * (2 * penalty_weight / n * (norm - 1) / norm.clamp_min(1e-30))

    for depth, layer in enumerate(critic.layers[:-1], start=1):
        # one product for both terms: scores on real and fake cells, penalty in the rows of the interpolated ones
        slopes[depth][: 2 * n] *= sign
        inputs[depth - 1][2 * n :] = upstream
        layer.weight.grad = slopes[depth].t() @ inputs[depth - 1]
        layer.bias.grad = slopes[depth][: 2 * n].sum(dim=0)
        upstream = (upstream @ layer.weight.t()) * active[depth - 1][2 * n :]
    last = critic.layers[-1]
    last.weight.grad = sign.t() @ inputs[-1][: 2 * n] + upstream.sum(dim=0, keepdim=True)
    last.bias.grad = sign.sum(dim=0)
    return CriticLoss((scores * sign).sum() + penalty_weight * penalty, penalty)
