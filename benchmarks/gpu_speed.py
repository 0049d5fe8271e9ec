"""The parts of :mod:`benchmarks.gpu` about speed: the machine, its rates, and the time and memory of a training step.

Each part is a generator of named results. A result is written as soon as it is there, so that a part that fails or runs
out of time keeps what it has found.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from benchmarks.causal_gan import MODELS, Ours, hyperparameters, problem
from benchmarks.step_cost import Operation, count, roofline_seconds, totals
from llm4grn.gan import compilation
from llm4grn.gan.causal_gan import CausalGAN

#: A result: its name and its value.
Result = tuple[str, Any]
#: Steps of the paper's schedule, for which times are extrapolated.
PAPER_STEPS = 240_000


@dataclass(frozen=True)
class Job:
    """What a part is told.

    Attributes
    ----------
    device
        ``cuda`` or ``cpu``.
    tiny
        If True, sizes that try out the program rather than measure anything.
    options
        Options of the part, such as ``model`` and ``precision``.
    known
        Results of the parts that came before, by part.
    """

    device: str
    tiny: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def size(self, full: Any, tiny: Any) -> Any:
        """Return one of two values, by ``tiny``."""
        return tiny if self.tiny else full

    def wait(self) -> None:
        """Wait until the device has done what it was asked for."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Return the mean seconds of ``work``, after one call to warm up."""
        work()
        self.wait()
        begin = time.perf_counter()
        for _ in range(repeats):
            work()
        self.wait()
        return (time.perf_counter() - begin) / repeats


def environment(job: Job) -> Iterator[Result]:
    """Yield versions, the device, and whether torch.compile can work here."""
    yield "python", platform.python_version()
    yield "torch", torch.__version__
    yield "cpus", os.cpu_count()
    yield "missing_compiler", compilation.missing_compiler(job.device == "cuda")
    if job.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        yield "gpu", properties.name
        yield "gpu_memory_gb", properties.total_memory / 1024**3
        yield "capability", f"{properties.major}.{properties.minor}"
        yield "cuda", torch.version.cuda


def rates(job: Job) -> Iterator[Result]:
    """Yield the device's own speed: matrix products by data type, memory bandwidth, seconds of a kernel's launch."""
    n = job.size(8192, 256)
    for name, dtype, precision in (
        ("float32", torch.float32, "highest"),
        ("tf32", torch.float32, "high"),
        ("bfloat16", torch.bfloat16, "highest"),
    ):
        torch.set_float32_matmul_precision(precision)
        a, b = torch.randn(2, n, n, device=job.device, dtype=dtype)
        yield f"{name}_flops_per_second", 2 * n**3 / job.seconds(lambda a=a, b=b: a @ b, job.size(10, 2))
    torch.set_float32_matmul_precision("highest")
    source = torch.randn(job.size(1 << 28, 1 << 22), device=job.device)
    target = torch.empty_like(source)
    seconds = job.seconds(lambda: target.copy_(source), job.size(20, 2))
    yield "bytes_per_second", 2 * source.numel() * source.element_size() / seconds
    value, n_launches = torch.zeros(1, device=job.device), job.size(1000, 50)

    def launches() -> None:
        for _ in range(n_launches):
            value.add_(1)

    yield "launch_seconds", job.seconds(launches, 3) / n_launches
    if job.device == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            launches()
        yield "launch_seconds_in_graph", job.seconds(graph.replay, 3) / n_launches


def stage_2(job: Job, model: str, precision: str) -> Ours:
    """Return an untrained causal GAN of a model's size, on the CPU."""
    in_products = "bfloat16" if precision == "bfloat16" else "float32"  # tf32 is torch's setting, not the model's
    hyper = hyperparameters(job.size(1024, 16), in_products, model)
    if job.tiny:
        hyper = replace(hyper, critic_layers=[16, 8], labeler_layers=[16])
    torch.manual_seed(0)
    sizes = (1000, 75, MODELS[model]["k"]) if not job.tiny else (24, 8, 3)
    graph, cells, controller = problem(*sizes, hyper.batch_size)
    return Ours(cells, graph, controller, hyper)


def by_operators(gan: CausalGAN) -> CausalGAN:
    """Let the target generators compute in torch's operators on a CPU, too, as they do on a GPU."""
    for group in gan.generator.target_generators.groups:
        group.forward = group.forward_by_operators  # type: ignore[method-assign]
    return gan


def step_times(job: Job) -> Iterator[Result]:
    """Yield operators, bytes, losses, memory and seconds of a training step, by way of running it.

    ``job.options``: ``model``, ``precision`` (``float32``, ``tf32`` or ``bfloat16``) and ``compiled``. Not compiled are
    the eager step and the same as a CUDA graph; compiled are the step through torch.compile without and with a graph.
    """
    model, precision, compiled = job.options["model"], job.options["precision"], job.options["compiled"]
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    if compiled and (reason := compilation.missing_compiler(job.device == "cuda")):
        raise RuntimeError(f"torch.compile cannot work here: {reason}")
    if compiled and job.tiny:
        compilation.BACKEND = "eager"  # traced, but without the minutes of a compiler
    reference, limits = yield from eager_step(job, model, precision, timing=not compiled)
    for graph in (False, True) if compiled else (True,):
        name = "compiled graph" if compiled and graph else "graph" if graph else "compiled"
        if graph and job.device != "cuda":
            yield name, {"skipped": "a CUDA graph needs a GPU"}
        else:
            yield name, other_step(job, model, precision, compiled, graph, reference, limits)


def eager_step(
    job: Job, model: str, precision: str, timing: bool
) -> Generator[Result, None, tuple[list[dict[str, float]], dict[str, Any]]]:
    """Yield operators and, with ``timing``, times of the eager step; return its first losses and its least seconds."""
    eager = started(job, stage_2(job, model, precision))
    reference = losses(eager, 1)  # the first step makes the optimizers' moments, too
    operations = count(lambda: reference.extend(losses(eager, 2, first=1)))
    yield "operators", totals(operations)
    reference += losses(eager, 5, first=2)
    limits = roofline(job, operations, precision)
    yield "least_seconds", limits
    if timing:
        yield "eager", timed(job, eager, limits)
    return reference, limits


def other_step(
    job: Job, model: str, precision: str, compiled: bool, graph: bool,
    reference: Sequence[Mapping[str, float]], limits: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return times of a compiled or captured step, and how far its first losses are from the eager ones."""
    trained = started(job, stage_2(job, model, precision), compiled, graph)
    begin = time.perf_counter()
    first = losses(trained, 5)  # a graph is captured at the fourth
    warm_up = time.perf_counter() - begin
    gap = max(relative(at[k], exact[k]) for at, exact in zip(first, reference, strict=True) for k in at)
    return {"warm_up_seconds": warm_up, "loss_gap_to_eager": gap, **timed(job, trained, limits)}


def losses(trained: Ours, stop: int, first: int = 0) -> list[dict[str, float]]:
    """Run the steps from ``first`` to ``stop - 1``, and return their losses."""
    return [{name: loss.item() for name, loss in trained.step(i).items()} for i in range(first, stop)]


def started(job: Job, ours: Ours, compiled: bool = False, graph: bool = False) -> Ours:
    """Move a stage to the device and start its optimizers."""
    if job.device == "cuda":  # the peak is that of this stage: the one before is gone, its memory given back
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    gan = (ours.gan if compiled else by_operators(ours.gan)).to(job.device).train()
    gan.compiled = compiled
    gan.start(dict(zip(gan.networks(), gan.configure_optimizers(), strict=True)), captured=graph)
    return ours


def timed(job: Job, trained: Ours, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the median seconds of a step, what follows from it, and the peak memory of these steps."""
    looks, steps = job.size(8, 2), job.size(25, 1)
    seconds = []
    for look in range(looks):
        job.wait()
        begin = time.perf_counter()
        for i in range(steps):
            trained.step(10 + look * steps + i)
        job.wait()
        seconds.append((time.perf_counter() - begin) / steps)
    median = statistics.median(seconds)
    if job.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1024**3
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    shares = {f"share_of_{name}": value / median for name, value in limits.items() if isinstance(value, float)}
    return {"seconds": median, "hours_of_240000": median * PAPER_STEPS / 3600, "peak_gb": peak, **shares}


def roofline(job: Job, operations: Sequence[Operation], precision: str) -> dict[str, Any]:
    """Return the least seconds of a step by the rates that an earlier part has measured, or why there are none."""
    measured = job.known.get("rates", {})
    float32 = measured.get("tf32_flops_per_second" if precision == "tf32" else "float32_flops_per_second")
    bfloat16, bandwidth = measured.get("bfloat16_flops_per_second"), measured.get("bytes_per_second")
    if not (float32 and bfloat16 and bandwidth):
        return {"unknown": "the device's rates were not measured"}
    return roofline_seconds(operations, {"float32": float32, "bfloat16": bfloat16}, bandwidth)


def relative(found: float, exact: float) -> float:
    return abs(found - exact) / max(abs(exact), 1e-12)
