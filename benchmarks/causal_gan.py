"""Time and memory of one stage-2 training step at the paper's size, compared with masked-dense networks.

    python -m benchmarks.causal_gan                     1000 genes, 75 TFs, 925 targets, k 10, batch 1024
    python -m benchmarks.causal_gan --precision bfloat16     our products in bfloat16; the twin's stay in float32
    python -m benchmarks.causal_gan --model groundgan        the upstream defaults: depth 3, width 2, k 15
    python -m benchmarks.causal_gan --compile                what a GPU runs, on the CPU: with and without torch.compile
    python -m benchmarks.causal_gan --device cuda --compile --steps 200 --precision bfloat16
    python -m benchmarks.causal_gan --genes 300 --batch 128 --repeats 5      smaller, to try it out

The twin is the textbook implementation: target generators as dense layers times a 0/1 mask, and the gradient penalty by
a second backward pass through autograd. Where it does not fit in memory, only the operations of its generator are
counted. --compile adds two variants of our step: in torch's operators without the fused CPU kernels (on a GPU, our step
is that already), and the same compiled (on a GPU also as one CUDA graph), with the compilation timed separately.

Each measurement runs in a process of its own, and variants alternate. Peak memory is that of the process, including the
interpreter and its libraries; on a GPU, that of the allocator. The last line is JSON with times, memory, ratios, the
fraction of our step outside matrix products (torch's profiler, one more step), and the losses at the first and the last
step, which agree for our variants on any hardware because they train the same networks.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import CausalGANHyperparameters
from llm4grn.gan.networks import CellGenerator, Critic, Labeler, normalise_library_size
from llm4grn.gan.target_generators import TargetGroup
from llm4grn.grn import CausalGraph

LIBRARY_SIZE = 20_000
#: Steps before timing starts, and steps between two readings of the clock, so that a GPU does not wait for the host.
WARM_UP = {"cpu": 1, "cuda": 5}
STEPS_PER_LOOK = {"cpu": 1, "cuda": 25}


#: Shape of the target generators, and regulators per target, by model.
MODELS = {"paper": {"depth": 2, "width": 1, "k": 10}, "groundgan": {"depth": 3, "width": 2, "k": 15}}


def hyperparameters(batch: int, precision: str = "float32", model: str = "paper") -> CausalGANHyperparameters:
    return CausalGANHyperparameters(
        depth=MODELS[model]["depth"],
        width=MODELS[model]["width"],
        steps=1000,
        batch_size=batch,
        critic_layers=[1024, 512, 256],
        generator_lr=[1e-3, 1e-4],
        critic_lr=[1e-3, 1e-3],
        precision=precision,
    )


def problem(n_genes: int, n_tfs: int, k: int, batch: int) -> tuple[CausalGraph, Tensor, CellGenerator]:
    """Return a random graph, random sparse cells and an untrained controller of the paper's size."""
    torch.manual_seed(0)
    genes = tuple(f"g{i:05d}" for i in range(n_genes))
    regulators = {gene: tuple(genes[j] for j in torch.randperm(n_tfs)[:k].tolist()) for gene in genes[n_tfs:]}
    cells = F.relu(torch.randn(4 * batch, n_genes) - 1)
    controller = CellGenerator(128, [256, 512, 1024], n_genes)
    return CausalGraph(genes, regulators), normalise_library_size(cells, LIBRARY_SIZE), controller


def masked_dense_arithmetic(args: argparse.Namespace) -> dict[str, float]:
    """Return the memory (GB) and operations (TFLOP) that a step of the twin's generator needs at least.

    Each entry of its matrices has a weight, a mask, a gradient and three moments of AdamW with amsgrad. A step has one
    forward pass for each critic update, for the generator and for the labelers; its one backward pass costs as much as
    two of these.
    """
    hyper, n_targets = hyperparameters(args.batch, model=args.model), args.genes - args.tfs
    hidden = n_targets * hyper.width * (args.k + hyper.noise_per_gene)
    weights = hidden * (args.tfs + n_targets) + hyper.depth * hidden**2 + n_targets * hidden
    products = hyper.critic_updates + 2 + 2
    return {"gb": 6 * 4 * weights / 1024**3, "tflop": products * 2 * args.batch * weights / 1e12}


class MaskedLinear(nn.Linear):
    """A dense layer times a 0/1 mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0], bias=False)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedDenseGAN:
    """The twin: networks, losses and optimizers of :class:`CausalGAN`, in dense layers under autograd."""

    def __init__(self, cells: Tensor, graph: CausalGraph, controller: CellGenerator, hyper: CausalGANHyperparameters):
        self.hyper, self.cells = hyper, cells
        tfs, targets = graph.tf_names, graph.targets
        controller.freeze_as_root_source(torch.arange(len(tfs)))
        self.controller = controller
        row = {tf: i for i, tf in enumerate(tfs)}
        edges = [[row[tf] for tf in graph.regulators[target]] for target in targets]
        # hidden unit -> its target
        owner = torch.tensor([t for t, tf in enumerate(edges) for _ in range(hyper.width * (len(tf) + 1))])
        first = torch.zeros(len(owner), len(tfs) + len(targets))
        for unit, target in enumerate(owner.tolist()):
            first[unit, [*edges[target], len(tfs) + target]] = 1
        own = (owner[:, None] == owner[None, :]).float()
        last = (torch.arange(len(targets))[:, None] == owner[None, :]).float()
        layers: list[nn.Module] = []
        for mask in [first] + [own] * hyper.depth:
            layers += [MaskedLinear(mask), nn.BatchNorm1d(len(owner)), nn.ReLU()]
        self.generator = nn.Sequential(*layers, MaskedLinear(last), nn.ReLU())
        self.n_tfs, self.n_targets = len(tfs), len(targets)
        self.critic = Critic(len(graph.genes), hyper.critic_layers)
        self.labeler = Labeler(self.n_targets, hyper.labeler_layers, self.n_tfs)
        self.antilabeler = Labeler(self.n_targets, hyper.labeler_layers, self.n_tfs)
        networks = self.generator, self.critic, self.labeler, self.antilabeler
        self.modules = nn.ModuleList([*networks, controller])

    def to(self, device: str) -> MaskedDenseGAN:
        self.device, self.cells = device, self.cells.to(device)
        self.modules.to(device)
        self.optimizers = [
            AdamW(n.parameters(), lr=1e-3, betas=(0.5, 0.9), weight_decay=0.01, amsgrad=True) for n in self.modules[:4]
        ]
        return self

    def generate(self) -> Tensor:
        n = self.hyper.batch_size
        with torch.no_grad():
            tfs = self.controller(torch.randn(n, self.controller.noise_dim, device=self.device))
        targets = self.generator(torch.cat([tfs, torch.randn(n, self.n_targets, device=self.device)], dim=1))
        return normalise_library_size(torch.cat([tfs, targets], dim=1), LIBRARY_SIZE)

    def _labeler_loss(self, labeler: Labeler, cells: Tensor) -> Tensor:
        return F.mse_loss(labeler(cells[:, self.n_tfs :]), cells[:, : self.n_tfs])

    def _update(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()

    def step(self, i: int) -> None:
        real = self.cells[: self.hyper.batch_size]
        for _ in range(self.hyper.critic_updates):
            fake = self.generate().detach()
            epsilon = torch.rand(len(real), 1, device=self.device)
            between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
            penalty = (slope.norm(dim=1) - 1).square().mean()
            self._update(1, self.critic(fake).mean() - self.critic(real).mean() + 10 * penalty)
        fake = self.generate()
        loss = -self.critic(fake).mean() + sum(self._labeler_loss(n, fake) for n in (self.labeler, self.antilabeler))
        self._update(0, loss)
        fake = self.generate().detach()
        self._update(3, self._labeler_loss(self.antilabeler, fake))
        self._update(2, self._labeler_loss(self.labeler, fake))
        self._update(2, self._labeler_loss(self.labeler, real))


class Ours:
    """:class:`CausalGAN` with a training step that the benchmark calls."""

    def __init__(self, cells: Tensor, graph: CausalGraph, controller: CellGenerator, hyper: CausalGANHyperparameters):
        self.gan = CausalGAN(cells, graph, controller, hyper, LIBRARY_SIZE, seed=0)

    def to(self, device: str) -> Ours:
        self.gan.to(device).train()
        self.gan.start(dict(zip(self.gan.networks(), self.gan.configure_optimizers(), strict=True)))
        return self

    def step(self, i: int) -> dict[str, Tensor]:
        return self.gan.take_step(i)


class Operators(Ours):
    """:class:`Ours` with target generators in torch's operators, on a CPU too."""

    def to(self, device: str) -> Ours:
        TargetGroup.forward = TargetGroup.forward_by_operators
        return super().to(device)


class Compiled(Ours):
    """The step of :class:`Operators` through torch.compile, on a GPU as a CUDA graph."""

    def to(self, device: str) -> Ours:
        self.gan.compiled = True
        return super().to(device)


KINDS = {"ours": Ours, "operators": Operators, "compiled": Compiled, "masked_dense": MaskedDenseGAN}


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Return the median seconds of a step after warm-up, the peak memory in GB, and details of our variants."""
    torch.set_num_threads(args.threads)
    graph, cells, controller = problem(args.genes, args.tfs, args.k, args.batch)
    hyper = hyperparameters(args.batch, args.precision, args.model)
    trained = KINDS[args.measure](cells, graph, controller, hyper).to(args.device)
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    start = time.perf_counter()
    first = trained.step(0)
    for i in range(1, WARM_UP[args.device]):
        trained.step(i)
    wait()
    warm_up, done, seconds = time.perf_counter() - start, WARM_UP[args.device], []
    while done < WARM_UP[args.device] + args.steps:
        n = min(STEPS_PER_LOOK[args.device], WARM_UP[args.device] + args.steps - done)
        start = time.perf_counter()
        for i in range(done, done + n):
            last = trained.step(i)
        wait()
        seconds.append((time.perf_counter() - start) / n)
        done += n
    if args.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1024**3
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    measured = {"seconds": statistics.median(seconds), "peak_gb": peak, "warm_up_seconds": warm_up}
    if args.measure == "masked_dense":
        return measured
    losses = {f"at_{step}": {k: v.item() for k, v in at.items()} for step, at in ((0, first), (done - 1, last))}
    return measured | {"outside_products": outside_products(trained, args.device), "losses": losses}


def outside_products(trained: Ours, device: str) -> float:
    """Return the fraction of a step's time that is not spent in matrix products."""
    on_gpu = device == "cuda"
    activities = [torch.profiler.ProfilerActivity.CUDA if on_gpu else torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        trained.step(1)
        if on_gpu:
            torch.cuda.synchronize()
    times = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profile.key_averages()
    }
    kernels = r"aten::(add|b|badd)?mm$|gemm|cutlass|nvjet"  # nvjet: cuBLAS on Hopper
    products = sum(time for name, time in times.items() if re.search(kernels, name))
    return 1 - products / sum(times.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = ("genes", 1000), ("tfs", 75), ("batch", 1024), ("threads", 2), ("repeats", 3)
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--k", type=int, help="regulators per target; by default the model's")
    parser.add_argument("--model", choices=list(MODELS), default="paper")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of our products")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=1, help="timed steps per process, after one to warm up")
    parser.add_argument("--compile", action="store_true", help="measure operators and torch.compile, too")
    parser.add_argument("--without", nargs="*", choices=list(KINDS), default=[], help="what not to measure")
    parser.add_argument("--measure", choices=list(KINDS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.k = args.k or MODELS[args.model]["k"]
    if args.measure:
        print(json.dumps(measure(args)))
        return
    arithmetic = masked_dense_arithmetic(args)
    if "masked_dense" not in args.without and arithmetic["gb"] > (memory := physical_memory()):
        print(f"masked dense needs more than {arithmetic['gb']:.0f} GB, and there are {memory:.0f} GB: not measured")
        args.without.append("masked_dense")
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here")
    more = [] if not args.compile else ["compiled"] if args.device == "cuda" else ["operators", "compiled"]
    rows: dict[str, list[dict]] = {name: [] for name in ("ours", *more, "masked_dense") if name not in args.without}
    for repeat in range(args.repeats):
        for name, measured in rows.items():
            command = [sys.executable, "-m", "benchmarks.causal_gan", *sys.argv[1:], "--measure", name]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured.append(json.loads(output.splitlines()[-1]))
            print(
                f"{repeat} {name:13} {measured[-1]['seconds']:10.4f} s/step {measured[-1]['peak_gb']:6.2f} GB",
                flush=True,
            )
    summary = {"benchmark": "causal_gan", "torch": torch.__version__, **vars(args)}
    summary["masked_dense_arithmetic"] = arithmetic
    del summary["measure"]
    for quantity in "seconds", "peak_gb":
        summary[quantity] = {name: statistics.median(row[quantity] for row in found) for name, found in rows.items()}
        summary[quantity]["ratio"] = ratios(rows, quantity)
    for quantity in "outside_products", "warm_up_seconds":
        known = {name: [row[quantity] for row in found if quantity in row] for name, found in rows.items()}
        summary[quantity] = {name: statistics.median(values) for name, values in known.items() if values}
    summary["losses"] = {name: found[0]["losses"] for name, found in rows.items() if "losses" in found[0]}
    print(json.dumps(summary))


def physical_memory() -> float:
    """Return the physical memory of this machine in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def ratios(rows: dict[str, list[dict]], quantity: str) -> dict[str, list[float]]:
    """Return minimum, median and maximum ratio of masked-dense to each of our variants, over pairs measured in turn."""
    found = {}
    for name in rows.keys() - {"masked_dense"} if "masked_dense" in rows else ():
        pairs = zip(rows[name], rows["masked_dense"], strict=True)
        each = [theirs[quantity] / ours[quantity] for ours, theirs in pairs]
        found[name] = [min(each), statistics.median(each), max(each)]
    return found


if __name__ == "__main__":
    main()
