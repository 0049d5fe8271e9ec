"""Faster ways to run the same step: methods compiled by torch, and the whole step as a CUDA graph."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Step = Callable[[Tensor, torch.Generator], dict[str, Tensor]]

#: Backend of torch.compile. Tests replace it, because compilation takes most of their time.
BACKEND = "inductor"
#: Steps before a graph is captured, in which everything happens that first calls do: compile, allocate, autotune.
_WARM_UP = 3


def compile_methods(module: nn.Module, names: Sequence[str]) -> None:
    """Replace these methods of ``module`` by compiled ones, for static shapes, as shapes never change in a training."""
    for name in names:
        method = getattr(type(module), name).__get__(module)
        setattr(module, name, torch.compile(method, backend=BACKEND, dynamic=False))


def missing_compiler(on_gpu: bool) -> str | None:
    """Return what torch.compile lacks on this machine, or None; compiling would fail only after the first stages."""
    if on_gpu and importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    names = ("gcc", "clang") if on_gpu else ("clang++",) if sys.platform == "darwin" else ("g++",)
    chosen = os.environ.get("CC" if on_gpu else "CXX", "").partition(" ")[0]
    if not any(shutil.which(name) for name in (chosen, *names)):
        return f"there is no {' or '.join(names)} on the PATH"
    return None


class CapturedStep:
    """Runs a training step as a CUDA graph.

    The first steps run eagerly; then one step is captured, and from there on each step copies its batch into the
    graph's input and replays the graph. The graph draws random numbers by the seed that ``random`` has at the replay,
    and reads the learning rates from tensors, so a step is the same at any time and after any resume.

    Parameters
    ----------
    step
        Function of real cells and random numbers, on a CUDA device, that makes all updates and returns the losses.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.n_steps = 0

    def __call__(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        self.n_steps += 1
        if self.n_steps <= _WARM_UP:
            return self._on_side_stream(real, random)
        if self.n_steps == _WARM_UP + 1:
            self._capture(real, random)
        self.real.copy_(real)
        self.graph.replay()
        return {name: loss.clone() for name, loss in self.losses.items()}

    def _on_side_stream(self, real: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        # Capturing happens on a side stream, so allocator and libraries are warmed up on one, too.
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            losses = self.step(real, random)
        main.wait_stream(side)
        return losses

    def _capture(self, real: Tensor, random: torch.Generator) -> None:
        self.real = real.clone()
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(random)
        # Another thread may allocate pinned memory meanwhile: the one that reads the cells of the next step.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.losses = self.step(self.real, random)
