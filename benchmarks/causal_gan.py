"""One stage-2 training step at the paper's size: ours beside a masked-dense version of the same networks.

    python -m benchmarks.causal_gan                     1000 genes, 75 TFs, 925 targets, k 10, batch 1024
    python -m benchmarks.causal_gan --precision bfloat16     our products in bfloat16; the twin's stay in float32
    python -m benchmarks.causal_gan --device cuda --steps 200
    python -m benchmarks.causal_gan --genes 300 --batch 128 --repeats 5      smaller, to try it out

The twin is the textbook way: target generators as dense layers times a 0/1 mask, the gradient penalty by a second
backward pass through autograd. Each measurement is a process of its own (peak memory is that of the process, the
interpreter and its libraries included; on a GPU that of its allocator), the two alternate, and the last line is JSON
with times, memory and ratios, and the share of our step that is not matrix products (torch's profiler, one more step).
"""

from __future__ import annotations

import argparse
import json
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
from llm4grn.grn import CausalGraph

LIBRARY_SIZE = 20_000


def hyperparameters(batch: int, precision: str = "float32") -> CausalGANHyperparameters:
    return CausalGANHyperparameters(
        steps=1000,
        batch_size=batch,
        critic_layers=[1024, 512, 256],
        generator_lr=[1e-3, 1e-4],
        critic_lr=[1e-3, 1e-3],
        precision=precision,
    )


def problem(n_genes: int, n_tfs: int, k: int, batch: int) -> tuple[CausalGraph, Tensor, CellGenerator]:
    """A random graph, random sparse cells and an untrained controller of the paper's size."""
    torch.manual_seed(0)
    genes = tuple(f"g{i:05d}" for i in range(n_genes))
    regulators = {gene: tuple(genes[j] for j in torch.randperm(n_tfs)[:k].tolist()) for gene in genes[n_tfs:]}
    cells = F.relu(torch.randn(4 * batch, n_genes) - 1)
    controller = CellGenerator(128, [256, 512, 1024], n_genes)
    return CausalGraph(genes, regulators), normalise_library_size(cells, LIBRARY_SIZE), controller


class MaskedLinear(nn.Linear):
    """A dense layer times a 0/1 mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0], bias=False)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedDenseGAN:
    """The twin: same networks, losses and optimizers as :class:`CausalGAN`, in dense layers under autograd."""

    def __init__(self, cells: Tensor, graph: CausalGraph, controller: CellGenerator, hyper: CausalGANHyperparameters):
        self.hyper, self.cells = hyper, cells
        tfs, targets = graph.tf_names, graph.targets
        controller.freeze_as_root_source(torch.arange(len(tfs)))
        self.controller = controller
        row = {tf: i for i, tf in enumerate(tfs)}
        edges = [[row[tf] for tf in graph.regulators[target]] for target in targets]
        owner = torch.tensor([t for t, tf in enumerate(edges) for _ in range(len(tf) + 1)])  # hidden unit -> its target
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
    """:class:`CausalGAN`, stepped by hand."""

    def __init__(self, cells: Tensor, graph: CausalGraph, controller: CellGenerator, hyper: CausalGANHyperparameters):
        self.gan = CausalGAN(cells, graph, controller, hyper, LIBRARY_SIZE, seed=0)

    def to(self, device: str) -> Ours:
        self.gan.to(device).train()
        self.gan.optimizer = dict(zip(self.gan.networks(), self.gan.configure_optimizers(), strict=True))
        self.random = torch.Generator(device)
        return self

    def step(self, i: int) -> None:
        self.random.manual_seed(i)
        self.gan.train_one_step(self.gan.batch(i), self.random)


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a step after one to warm up, the peak memory in GB, and the share of ours outside products."""
    torch.set_num_threads(args.threads)
    graph, cells, controller = problem(args.genes, args.tfs, args.k, args.batch)
    kind = Ours if args.measure == "ours" else MaskedDenseGAN
    trained = kind(cells, graph, controller, hyperparameters(args.batch, args.precision)).to(args.device)
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    trained.step(0)
    wait()
    seconds = []
    for i in range(1, args.steps + 1):
        start = time.perf_counter()
        trained.step(i)
        wait()
        seconds.append(time.perf_counter() - start)
    if args.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1024**3
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    outside = {"outside_products": outside_products(trained, args.device)} if kind is Ours else {}
    return {"seconds": statistics.median(seconds), "peak_gb": peak, **outside}


def outside_products(trained: Ours, device: str) -> float:
    """The share of a step that is not spent in matrix products."""
    on_gpu = device == "cuda"
    activities = [torch.profiler.ProfilerActivity.CUDA if on_gpu else torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        trained.step(1)
    times = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profile.key_averages()
    }
    products = sum(time for name, time in times.items() if re.search(r"aten::(add|b|badd)?mm$|gemm|cutlass", name))
    return 1 - products / sum(times.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = ("genes", 1000), ("tfs", 75), ("k", 10), ("batch", 1024), ("threads", 2), ("repeats", 3)
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of our products")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=1, help="timed steps per process, after one to warm up")
    parser.add_argument("--measure", choices=["ours", "masked_dense"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    rows: dict[str, list[dict[str, float]]] = {"ours": [], "masked_dense": []}
    for repeat in range(args.repeats):
        for name, measured in rows.items():
            command = [sys.executable, "-m", "benchmarks.causal_gan", *sys.argv[1:], "--measure", name]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured.append(json.loads(output.splitlines()[-1]))
            print(
                f"{repeat} {name:13} {measured[-1]['seconds']:8.2f} s/step {measured[-1]['peak_gb']:6.2f} GB",
                flush=True,
            )
    summary = {"benchmark": "causal_gan", "torch": torch.__version__, **vars(args)}
    for quantity in "seconds", "peak_gb":
        ours, theirs = ([row[quantity] for row in rows[name]] for name in rows)
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        summary[quantity] = {
            "ours": statistics.median(ours),
            "masked_dense": statistics.median(theirs),
            "ratio": [min(ratios), statistics.median(ratios), max(ratios)],
        }
    summary["outside_products"] = statistics.median(row["outside_products"] for row in rows["ours"])
    del summary["measure"]
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
