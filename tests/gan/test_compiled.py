"""The compiled step, which on a GPU is the fast one, against the plain step: equal up to the rounding of float32."""

import pytest
import torch
from test_training import causal_gan, controller

from llm4grn.gan import compilation, training

N_STEPS = 3


@pytest.mark.slow
def test_a_compiled_training_is_the_plain_one(tmp_path, monkeypatch):
    """All that is traced and differentiated ahead of time, without the minutes of writing C++ for it."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    trained = []
    for is_compiled in False, True:
        torch._dynamo.utils.counters.clear()
        module = causal_gan(preconditioned=True, checkpoint=N_STEPS)
        options = {"accelerator": "cpu", "devices": 1, "compile": is_compiled}
        training.fit(module, tmp_path / str(is_compiled), "causal_gan", options)
        assert bool(torch._dynamo.utils.counters["frames"]) == is_compiled
        assert not torch._dynamo.utils.counters["graph_break"]
        trained.append(module)
    plain, other = trained
    for name, loss in plain.losses.items():
        torch.testing.assert_close(other.losses[name], loss, rtol=1e-4, atol=1e-5)
    for name, tensor in plain.state_dict().items():
        assert (tensor - other.state_dict()[name]).float().norm() <= 1e-4 * tensor.float().norm(), name


@pytest.mark.slow
def test_compiled_kernels_give_the_plain_gradients():
    """The critic's, where a compiler has most to fuse."""
    module = controller(preconditioned=True, critic_layers=[4])  # each layer is seconds of writing and compiling C++
    real, fake = torch.rand(2, 16, 12, generator=torch.Generator().manual_seed(0))
    epsilon = torch.rand(16, 1, generator=torch.Generator().manual_seed(1))
    loss, gradients = module.critic_gradients(real, fake, epsilon)
    compilation.compile_methods(module, ["critic_gradients"])
    other, found = module.critic_gradients(real, fake, epsilon)
    torch.testing.assert_close(tuple(other), tuple(loss))
    torch.testing.assert_close(found, gradients)
