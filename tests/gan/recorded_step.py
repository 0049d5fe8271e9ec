"""The recorded training step of GRouNdGAN, and a causal GAN with its weights at the start.

The recording (``groundgan_step.npz``) holds 26 genes, 6 TFs and 20 targets with two or three regulators each. Its
biases in front of BatchNorm have no counterpart here: they change no output, and what moved them is rounding noise.
"""

import json
from pathlib import Path

import numpy as np
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


def recorded_gan() -> CausalGAN:
    """Return the causal GAN before the step, without optimizers."""
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
    return gan
