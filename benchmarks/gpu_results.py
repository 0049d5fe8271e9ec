"""The parts of :mod:`benchmarks.gpu` about results: is a GPU right, does its training end where a CPU's does?

Each part is a generator of named results, see :mod:`benchmarks.gpu_speed`. ``agrees`` in a result is what was checked.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.causal_gan import LIBRARY_SIZE
from benchmarks.gpu_speed import Job, Result, by_operators, relative, stage_2
from llm4grn.gan import compilation
from llm4grn.gan.causal_gan import CausalGAN, Noise

#: How much farther from float64 a GPU's float32 may be than a CPU's, and the relative error below which both are equal.
TIMES_CPU, NEGLIGIBLE = 10.0, 1e-5


@dataclass(frozen=True)
class Draws:
    """All that a step reads besides the weights: real cells, epsilons of the critic updates, and noise."""

    real: Tensor
    epsilons: Sequence[Tensor]
    critic: Noise
    generator: Noise
    labelers: Noise

    def to(self, *where: Any) -> Draws:
        noise = (Noise(*(part.to(*where) for part in each)) for each in (self.critic, self.generator, self.labelers))
        return Draws(self.real.to(*where), [epsilon.to(*where) for epsilon in self.epsilons], *noise)


def agreement(job: Job) -> Iterator[Result]:
    """Yield how far a step on the device and on the CPU are from the same step in float64, losses to weights.

    The first case is the step recorded from GRouNdGAN; the second has the size of ``model=paper`` and random draws.
    A device is as good as the CPU if its errors are at most ``TIMES_CPU`` times as large, or negligible.
    """
    torch.set_float32_matmul_precision("highest")
    for name, case in ("recorded", recorded_case), ("paper", paper_case):
        start, draws = case(job)
        make = lambda case=case: case(job)[0]  # noqa: E731
        exact = take_step(by_operators(start.double()), draws.to(torch.float64))
        on_cpu = take_step(make(), draws)
        first, second = (take_step(by_operators(make()).to(job.device), draws.to(job.device)) for _ in range(2))
        errors = {"cpu": distances(on_cpu, exact), "device": distances(first, exact)}
        allowed = {key: max(TIMES_CPU * value, NEGLIGIBLE) for key, value in errors["cpu"].items()}
        equal = all(errors["device"][key] <= allowed[key] for key in allowed)
        repeats = all(torch.equal(a, b) for kind in first for a, b in zip(first[kind], second[kind], strict=True))
        yield name, {**errors, "allowed": allowed, "agrees": equal, "repeats_to_the_bit": repeats}


def recorded_case(job: Job) -> tuple[CausalGAN, Draws]:
    """Return the upstream program's weights before a step, and what it drew."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "gan"))
    from recorded_step import recorded_gan, recorded_noise, tensor

    gan = recorded_gan()
    noise = (recorded_noise(f"{update}_update", gan) for update in ("critic", "generator", "labeler"))
    return gan, Draws(tensor("real_cells"), [tensor("critic_update/epsilon")], *noise)


def paper_case(job: Job) -> tuple[CausalGAN, Draws]:
    """Return an untrained causal GAN of the paper's size, and random draws for a step."""
    gan = stage_2(job, "paper", "float32").gan
    n, updates, random = gan.hyper.batch_size, gan.hyper.critic_updates, torch.Generator().manual_seed(1)
    noise = (gan.noise(size, random) for size in (n * updates, n, n))
    return gan, Draws(gan.batch(0), list(torch.rand(updates, n, 1, generator=random)), *noise)


def take_step(gan: CausalGAN, draws: Draws) -> dict[str, list[Tensor]]:
    """Make one training step with given draws, and return losses, gradients and changes of weights in float64."""
    gan.train()
    gan.optimizer = dict(zip(gan.networks(), gan.configure_optimizers(), strict=True))
    weights = {name: list(parameters) for name, (parameters, _) in gan.networks().items()}
    before = {name: [each.detach().clone() for each in parameters] for name, parameters in weights.items()}
    real, n = gan.critic_input(draws.real), len(draws.real)
    with torch.no_grad():
        fakes = gan.fake_cells(draws.critic, n).split(n)
    for fake, epsilon in zip(fakes, draws.epsilons, strict=True):
        critic = gan.critic_update(real, fake, epsilon)
    generator = gan.generator_update(draws.generator)
    losses = {"critic loss": critic.loss, "gradient penalty": critic.gradient_penalty, "generator loss": generator}
    losses |= gan.labeler_updates(real, draws.labelers)
    found = {name: [loss] for name, loss in losses.items()}
    for name, parameters in weights.items():
        found[f"{name} gradients"] = [each.grad for each in parameters if each.grad is not None]
        found[f"{name} steps"] = [each.detach() - old for each, old in zip(parameters, before[name], strict=True)]
    return {kind: [each.detach().double().cpu() for each in tensors] for kind, tensors in found.items()}


def distances(found: Mapping[str, list[Tensor]], exact: Mapping[str, list[Tensor]]) -> dict[str, float]:
    """Return the distance of each kind of numbers from the exact ones, relative to the norm of these."""

    def flat(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([tensor.flatten() for tensor in tensors])

    return {kind: float((flat(found[kind]) - flat(exact[kind])).norm() / flat(exact[kind]).norm()) for kind in exact}


def small_training(job: Job) -> Iterator[Result]:
    """Train both stages of ``model=small`` on simulated cells with their true graph, and score what they generate.

    ``job.options``: ``seeds``, and ``threads`` of the CPU. On a GPU, seed 1 trains eagerly and all others as a
    CUDA graph. The result of a seed are its scores against held-out cells.
    """
    from llm4grn.evaluation.scores.score import score

    torch.set_num_threads(job.options["threads"])
    graph, training, test = simulated_cells(job)
    for seed in job.options["seeds"]:
        captured = job.device == "cuda" and seed > 1
        gan, seconds = trained_small(job, graph, training, seed, captured)
        cells = [gan.generate(len(test), sample).numpy() for sample in range(job.size(4, 1))]
        values = [score(test.numpy(), each, seed, ["mmd", "rf_auroc"]) for each in cells]
        means = {name: statistics.fmean(each[name] for each in values) for name in values[0]}
        yield str(seed), {**means, "seconds_per_step": seconds, "captured": captured}


def simulated_cells(job: Job) -> tuple[Any, Tensor, Tensor]:
    """Return the true graph of the paper's Appendix C (100 genes, k 10), training and test cells."""
    from llm4grn.data.simulated import LinearUniform
    from llm4grn.gan.networks import normalise_library_size
    from llm4grn.grn import CausalGraph

    source = LinearUniform(n_cells=job.size(3000, 120), seed=0)
    counts = source.load()
    edges = source.true_graph().groupby("target", sort=False)["TF"].apply(tuple).to_dict()
    cells = normalise_library_size(torch.from_numpy(counts.X.toarray()).float(), LIBRARY_SIZE)
    n_test = len(cells) // 6
    return CausalGraph(tuple(counts.var_names), edges), cells[n_test:], cells[:n_test]


def trained_small(job: Job, graph: Any, cells: Tensor, seed: int, captured: bool) -> tuple[CausalGAN, float]:
    """Train both stages under Lightning, and return the second one and its seconds per step."""
    from llm4grn.api.options import model_named
    from llm4grn.gan.causal_controller import CausalController
    from llm4grn.gan.training import fit

    changes = {"steps": job.size(2000, 4), "monitor_every": job.size(250, 1000)}
    model, _ = model_named("small", changes, changes)
    trainer = {"accelerator": "gpu" if job.device == "cuda" else "cpu", "devices": 1, "compile": captured}
    compilation.BACKEND = "eager"  # a graph of plain operators, without the minutes of a compiler
    with tempfile.TemporaryDirectory() as folder:
        controller = CausalController(cells, model.controller, LIBRARY_SIZE, seed)
        fit(controller, Path(folder) / "controller", "controller", trainer)
        gan = CausalGAN(cells, graph, controller.cpu().generator, model.causal_gan, LIBRARY_SIZE, seed)
        begin = time.perf_counter()
        fit(gan, Path(folder) / "causal_gan", "causal_gan", trainer)
        seconds = (time.perf_counter() - begin) / model.causal_gan.steps
    return gan.to(job.device), seconds


def metrics(job: Job) -> Iterator[Result]:
    """Yield values and seconds of every metric that computes on the device, there and on the CPU."""
    from llm4grn.metrics import stateful
    from llm4grn.metrics.registry import METRICS

    n_cells, n_genes = job.size((5000, 1000), (60, 20))
    random = torch.Generator().manual_seed(0)
    rate = torch.rand(n_genes, generator=random).square()
    real, synthetic = (torch.poisson(rate.expand(n_cells, -1), generator=random) for _ in range(2))
    real, synthetic = (cells.double() * LIBRARY_SIZE / n_genes for cells in (real, synthetic))
    on_device = real.to(job.device), synthetic.to(job.device)
    classes = {each.metric_name: each for each in vars(stateful).values() if hasattr(each, "metric_name")}
    for name, info in METRICS.items():
        if name in ("rf_auroc", "milisi"):  # scikit-learn, on the CPU in any case
            continue
        begin = time.perf_counter()
        on_cpu = info(real.numpy(), synthetic.numpy(), 0)
        cpu_seconds = time.perf_counter() - begin
        seconds = job.seconds(lambda info=info: info(*on_device, 0), 1)
        found, metric = info(*on_device, 0), classes[name]().to(job.device)
        for half in zip(*(cells.chunk(2) for cells in on_device), strict=True):
            metric.update(*half)
        gap = max(relative(found, on_cpu), relative(metric.compute().item(), on_cpu))
        yield name, {"seconds": seconds, "cpu_seconds": cpu_seconds, "gap": gap, "agrees": gap <= 1e-8}


def generation(job: Job) -> Iterator[Result]:
    """Yield cells per second: generated on the device, moved to the CPU, and written to a file."""
    from benchmarks.generation import untrained
    from llm4grn.gan.generation import write_cells

    gan = stage_2(job, "paper", "float32").gan.to(job.device)
    n_cells, batch = job.size(102_400, 64), gan.hyper.batch_size

    @torch.no_grad()
    def stay() -> None:
        for noise in gan.noise_batches(n_cells, 0):
            gan(noise)

    yield "on_device_cells_per_second", -(-n_cells // batch) * batch / job.seconds(stay, 1)
    yield "to_cpu_cells_per_second", n_cells / job.seconds(lambda: gan.generate(n_cells, 0), 1)
    sparse = untrained(*job.size((1000, 75, 10), (24, 8, 3))).to(job.device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        yield "to_file_cells_per_second", n_cells / job.seconds(lambda: write_cells(sparse, path, n_cells, seed=0), 1)
