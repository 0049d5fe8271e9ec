"""One training step of the upstream program, recorded with every weight and random draw: ours lands where it did.

The recording (``groundgan_step.npz``) holds 26 genes, 6 TFs and 20 targets with two or three regulators each. Its
biases in front of BatchNorm have no counterpart here: they change no output, and what moved them is rounding noise.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from llm4grn.gan.causal_gan import CausalGAN, Noise
from llm4grn.gan.hyperparameters import CausalGANHyperparameters
from llm4grn.gan.networks import CellGenerator
from llm4grn.grn import CausalGraph

RECORD = np.load(Path(__file__).with_name("groundgan_step.npz"))
META = json.loads(str(RECORD["meta"]))
N_TARGETS = META["n_targets"]


def tensor(key: str) -> torch.Tensor:
    return torch.from_numpy(RECORD[key])


def gene(position: int) -> str:
    return f"gene{position:02d}"


def recorded_graph() -> CausalGraph:
    regulators = {
        gene(int(RECORD["target_index"][a])): tuple(gene(int(r)) for r in RECORD[f"target{a}/regulators"])
        for a in range(N_TARGETS)
    }
    return CausalGraph(tuple(gene(i) for i in range(META["n_genes"])), regulators)


def load_blocks(network, prefix: str, n_blocks: int) -> None:
    for i in range(n_blocks):
        linear, norm, _ = network.blocks[i]
        linear.weight.data = tensor(f"{prefix}/layer{i}/weight").clone()
        norm.weight.data = tensor(f"{prefix}/layer{i}/bn_weight").clone()
        norm.bias.data = tensor(f"{prefix}/layer{i}/bn_bias").clone()
    network.output.weight.data = tensor(f"{prefix}/layer{n_blocks}/weight").clone()
    network.output.bias.data = tensor(f"{prefix}/layer{n_blocks}/bias").clone()


def target_parameters(gan: CausalGAN):
    """(weights of one target, their gradient, name in the recording) for every target generator."""
    number = {gene(int(position)): a for a, position in enumerate(RECORD["target_index"])}
    generators = gan.generator.target_generators
    for group, targets in zip(generators.groups, generators.group_targets, strict=True):
        last = len(group.gamma)
        places = [("layer0/weight", group.first, ()), (f"layer{last}/weight", group.last, ())]
        places += [(f"layer{last}/bias", group.bias, ())]
        places += [(f"layer{i + 1}/weight", group.inner, (i,)) for i in range(last - 1)]
        for kind, parameter in ("bn_weight", group.gamma), ("bn_bias", group.beta):
            places += [(f"layer{i}/{kind}", parameter, (i,)) for i in range(last)]
        for i, target in enumerate(targets):
            for name, parameter, layer in places:
                name = f"generators/target{number[target]}/{name}"
                shape, at = RECORD[f"start/{name}"].shape, (*layer, i)
                gradient = None if parameter.grad is None else parameter.grad[at].view(shape)
                yield parameter.data[at].view(shape), gradient, name


def recorded_noise(update: str, gan: CausalGAN) -> Noise:
    number = {gene(int(position)): a for a, position in enumerate(RECORD["target_index"])}
    order = [number[target] for target in gan.generator.target_generators.target_names]
    targets = tensor(f"{update}/target_noise").t()[order]
    return Noise(tensor(f"{update}/controller_noise"), targets.unsqueeze(1).contiguous())


@pytest.fixture
def gan() -> CausalGAN:
    controller = CellGenerator(META["controller_noise"], META["controller_layers"], META["n_genes"])
    load_blocks(controller, "controller", 2)
    lr = META["lr"]
    hyper = CausalGANHyperparameters(
        steps=1,
        batch_size=META["batch"],
        critic_layers=META["critic_layers"],
        critic_updates=1,
        penalty_weight=META["penalty_weight"],
        betas=META["betas"],
        weight_decay=META["weight_decay"],
        generator_lr=(lr["generator"], lr["generator"]),
        critic_lr=(lr["critic"], lr["critic"]),
        labeler_lr=(lr["labeler"], lr["antilabeler"]),
        labeler_layers=META["labeler_layers"],
        noise_per_gene=META["noise_per_gene"],
        depth=META["depth"],
        width=META["width"],
    )
    gan = CausalGAN(tensor("real_cells"), recorded_graph(), controller, hyper, META["library_size"], seed=0)
    for parameter, _, name in target_parameters(gan):
        parameter.copy_(tensor(f"start/{name}"))
    for i, layer in enumerate(gan.critic.of_space[0].layers):
        layer.weight.data = tensor(f"start/critic/layer{i}/weight").clone()
        layer.bias.data = tensor(f"start/critic/layer{i}/bias").clone()
    for name in "labeler", "antilabeler":
        load_blocks(getattr(gan, name), f"start/{name}", 2)
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
