"""A training step without Python between its kernels: torch.compile fuses them, a CUDA graph launches them at once.

Both change rounding at most, and both are off unless asked for: a compilation takes a minute, and on a CPU the fused
kernels of :mod:`llm4grn.gan.kernels` have no Python between them to begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from llm4grn.gan.adversarial import AdversarialModule

#: Of torch.compile; its compilations are most of a small test.
BACKEND = "inductor"

#: Steps before a graph is captured: what compiles, allocates or measures at its first call has then done so.
_WARM_UP = 3


def compile_parts(module: AdversarialModule, names: Sequence[str]) -> None:
    """Put compiled functions in the place of these methods of ``module``; shapes never change in a training."""
    for name in names:
        method = getattr(type(module), name).__get__(module)
        setattr(module, name, torch.compile(method, backend=BACKEND, dynamic=False))


class CapturedStep:
    """``train_one_step`` as a CUDA graph.

    The first steps run as they are; then one is captured, and from there on each step copies its batch to where the
    graph reads it and replays the graph. The graph draws its random numbers by the seed that ``random`` has at that
    time, and reads the learning rates from tensors, so a step is the same at any time and after any resume.
    """

    def __init__(self, module: AdversarialModule) -> None:
        self.module = module
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
        # where capturing happens, so that the allocator and the libraries have met the stream's work
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            losses = self.module.train_one_step(real, random)
        main.wait_stream(side)
        return losses

    def _capture(self, real: Tensor, random: torch.Generator) -> None:
        self.real = real.clone()
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(random)
        with torch.cuda.graph(self.graph):
            self.losses = self.module.train_one_step(self.real, random)
