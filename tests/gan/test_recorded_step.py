"""One training step of the upstream program, recorded with every weight and random draw: ours lands where it did."""

import pytest
import torch
from recorded_step import META, recorded_gan, recorded_noise, target_parameters, tensor

from llm4grn.gan.causal_gan import CausalGAN


@pytest.fixture
def gan() -> CausalGAN:
    gan = recorded_gan()
    gan.optimizer = dict(zip(gan.networks(), gan.configure_optimizers(), strict=True))
    return gan


def assert_moved_as_recorded(parameters, after: str, lr: float, updates: int = 1) -> None:
    """The same weights after the update.

    Adam's first step is ``lr x gradient / |gradient|``, so where the gradient is zero but for rounding the recorded
    step is noise: there, and only there, a weight may differ, and by no more than the steps taken.
    """
    n_moved = n_differ = n_weights = 0
    for ours, gradient, name in parameters:
        recorded = tensor(f"{after}/{name}")
        n_moved += int((recorded != tensor(f"start/{name}")).sum())
        is_noise = gradient.abs() <= 1e-5 * gradient.abs().max()
        differs = ~torch.isclose(ours, recorded, rtol=1e-5, atol=5e-3 * lr)
        assert not (differs & ~is_noise).any(), name
        assert (ours - recorded).abs().max() <= 2.02 * updates * lr
        n_differ, n_weights = n_differ + int(differs.sum()), n_weights + differs.numel()
    assert n_moved > 0.9 * n_weights
    assert n_differ < 0.02 * n_weights


def labeler_parameters(network, name: str):
    for i, block in enumerate(network.blocks):
        yield block[0].weight, f"{name}/layer{i}/weight"
        yield block[1].weight, f"{name}/layer{i}/bn_weight"
        yield block[1].bias, f"{name}/layer{i}/bn_bias"
    yield network.output.weight, f"{name}/layer{len(network.blocks)}/weight"
    yield network.output.bias, f"{name}/layer{len(network.blocks)}/bias"


def test_a_recorded_step_comes_out_again(gan):
    gan.train()
    lr = META["lr"]
    noise = recorded_noise("critic_update", gan)
    library_size = META["library_size"]
    fake = gan(noise).detach()
    torch.testing.assert_close(fake, tensor("critic_update/fake_cells"), rtol=0, atol=3e-7 * library_size)

    loss = gan.critic_update(tensor("real_cells"), fake, tensor("critic_update/epsilon"))
    torch.testing.assert_close(loss.loss, tensor("critic_update/loss"), rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.gradient_penalty, tensor("critic_update/gradient_penalty"), rtol=1e-5, atol=0)
    critic = [
        (p.data, p.grad, f"critic/layer{i}/{kind}")
        for i, layer in enumerate(gan.critic.of_space[0].layers)
        for kind, p in (("weight", layer.weight), ("bias", layer.bias))
    ]
    assert_moved_as_recorded(critic, "after_critic", lr["critic"])

    loss = gan.generator_update(recorded_noise("generator_update", gan))
    torch.testing.assert_close(loss, tensor("generator_update/loss"), rtol=1e-5, atol=0)
    assert_moved_as_recorded(target_parameters(gan), "after_generator", lr["generator"])

    gan.labeler_updates(tensor("real_cells"), recorded_noise("labeler_update", gan))
    for name, updates in ("antilabeler", 1), ("labeler", 2):
        parameters = [(p.data, p.grad, key) for p, key in labeler_parameters(getattr(gan, name), name)]
        assert_moved_as_recorded(parameters, "after_labelers", lr[name], updates)
