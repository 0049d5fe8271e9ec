"""The written-out gradient of the critic against automatic differentiation through the penalty, in float64."""

import pytest
import torch

from llm4grn.gan.losses import critic_gradients
from llm4grn.gan.networks import Critic


def reference(critic, real, fake, epsilon, weight):
    """The loss as the formula says it, differentiated twice by torch."""
    between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    loss = critic(fake).mean() - critic(real).mean() + weight * penalty
    return loss, penalty, torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True)


@pytest.mark.parametrize("layers", [[7], [16, 8], [16, 8, 4]])
def test_loss_and_gradients_equal_double_backward(layers):
    torch.manual_seed(1)
    critic = Critic(12, layers).double()
    for layer in critic.layers:
        layer.bias.data = torch.randn_like(layer.bias) * 0.3
    real, fake = torch.rand(2, 10, 12, dtype=torch.float64)
    epsilon = torch.rand(10, 1, dtype=torch.float64)
    loss, penalty, gradients = reference(critic, real, fake, epsilon, 10.0)

    ours, found = critic_gradients(critic, real, fake, epsilon, 10.0)

    torch.testing.assert_close(ours.loss, loss.detach())
    torch.testing.assert_close(ours.gradient_penalty, penalty.detach())
    for parameter, mine, gradient in zip(critic.parameters(), found, gradients, strict=True):
        torch.testing.assert_close(mine, gradient if gradient is not None else torch.zeros_like(parameter))


def test_sums_over_shares_are_those_of_the_whole_batch():
    torch.manual_seed(4)
    critic = Critic(12, [16, 8]).double()
    real, fake = torch.rand(2, 10, 12, dtype=torch.float64)
    epsilon = torch.rand(10, 1, dtype=torch.float64)
    whole, gradients = critic_gradients(critic, real, fake, epsilon, 10.0)
    shares = [
        critic_gradients(critic, real[rows], fake[rows], epsilon[rows], 10.0, n_total=10)
        for rows in (slice(0, 3), slice(3, 10), slice(10, 10))
    ]
    torch.testing.assert_close(sum(loss.loss for loss, _ in shares), whole.loss)
    torch.testing.assert_close(sum(loss.gradient_penalty for loss, _ in shares), whole.gradient_penalty)
    for i, gradient in enumerate(gradients):
        torch.testing.assert_close(sum(found[i] for _, found in shares), gradient)


def test_bfloat16_products_change_the_gradient_by_their_rounding():
    torch.manual_seed(3)
    critic = Critic(50, [64, 32])
    real, fake, epsilon = torch.rand(40, 50), torch.rand(40, 50), torch.rand(40, 1)
    exact, gradients = critic_gradients(critic, real, fake, epsilon, 10.0)
    rounded, found = critic_gradients(critic, real, fake, epsilon, 10.0, torch.bfloat16)
    torch.testing.assert_close(rounded.gradient_penalty, exact.gradient_penalty, rtol=0.02, atol=0)
    torch.testing.assert_close(rounded.loss, exact.loss, rtol=0.02, atol=0)
    for mine, gradient in zip(found, gradients, strict=True):
        assert mine.dtype == torch.float32
        if mine.dim() == 2:  # those of biases are differences of nearly equal sums
            assert 0 < (mine - gradient).norm() <= 0.05 * gradient.norm()


def test_inputs_are_untouched():
    torch.manual_seed(2)
    critic = Critic(6, [5])
    real, fake, epsilon = torch.rand(4, 6), torch.rand(4, 6), torch.rand(4, 1)
    before = real.clone(), fake.clone()
    weights = [parameter.detach().clone() for parameter in critic.parameters()]
    critic_gradients(critic, real, fake, epsilon, 10.0)
    assert all(torch.equal(*pair) for pair in zip(critic.parameters(), weights, strict=True))
    assert torch.equal(real, before[0])
    assert torch.equal(fake, before[1])


def test_a_dead_critic_has_a_finite_gradient():
    critic = Critic(3, [2])
    for layer in critic.layers:
        torch.nn.init.zeros_(layer.weight)
    loss, gradients = critic_gradients(critic, torch.rand(4, 3), torch.rand(4, 3), torch.rand(4, 1), 10.0)
    assert loss.gradient_penalty == 1
    assert all(gradient.isfinite().all() for gradient in gradients)
