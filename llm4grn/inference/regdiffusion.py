"""RegDiffusion: a diffusion model of the cells with a learned adjacency matrix of the genes."""

from __future__ import annotations

import io
import logging
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer
from llm4grn.inference.expression import Expression
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import Positive, check_fields

if TYPE_CHECKING:
    import anndata

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class RegDiffusion(Inferer):
    """RegDiffusion (Zhu and Slonim, Journal of Computational Biology 31:1087, 2024), with its authors' package.

    One model is trained on log1p of the expression of all genes; the importance of an edge is the absolute value of its
    entry in the learned adjacency matrix. Entries below the package's threshold are 0 and not edges.

    Parameters
    ----------
    n_steps
        Number of training steps.
    batch_size
        Cells per step; all cells if there are fewer.
    device
        ``auto`` (the GPU if there is one), ``cpu`` or ``cuda``.

    Raises
    ------
    UserError
        If a value is invalid.
    """

    uses_expression: ClassVar[bool] = True

    n_steps: Positive = 1000
    batch_size: Positive = 128
    device: Literal["auto", "cpu", "cuda"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        check_fields(self, "inferer")

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Train on all genes that vary and return the edges from TFs to targets.

        Raises
        ------
        UserError
            If the package is not installed.
        """
        try:
            import regdiffusion
        except ImportError as error:
            raise UserError(
                f"inferer=regdiffusion needs the package regdiffusion ({error}): pip install -e '.[regdiffusion]'"
            ) from error
        import importlib.metadata

        import numpy as np

        from llm4grn.grn import GRN
        from llm4grn.runtime.threads import fix_torch_threads

        expression = Expression.of(adata, tf_names, "RegDiffusion")
        cells = np.log1p(expression.matrix.toarray().astype(np.float32))
        cells = cells[cells.any(axis=1)]  # the package divides by each cell's maximum
        logger.info("RegDiffusion: %d steps on %d cells and %d genes", self.n_steps, *cells.shape)
        fix_torch_threads()
        with _private_random_state():
            trainer = regdiffusion.RegDiffusionTrainer(
                cells,
                n_steps=self.n_steps,
                batch_size=min(self.batch_size, len(cells)),
                device=_device(self.device),
                seed=derive_seed(seed, "regdiffusion"),
            )
            with _quiet_without_terminal():
                trainer.train()
        matrix = np.abs(trainer.get_adj().astype(np.float64))
        provenance = {
            "method": "regdiffusion",
            "version": importlib.metadata.version("regdiffusion"),
            "n_steps": self.n_steps,
            "seed": seed,
            "cells": adata.n_obs,
        }
        return GRN.from_edges(expression.edges(matrix[expression.tfs][:, expression.targets]), provenance)


def _quiet_without_terminal() -> AbstractContextManager:
    """Hide the package's progress bar outside a terminal, where it would write a line per step to the log."""
    return nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())


def _device(device: str) -> str:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("inferer.device=cuda: PyTorch sees no GPU here; use inferer.device=auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


@contextmanager
def _private_random_state() -> Iterator[None]:
    """Restore the global random state and cuDNN's flags on exit, because the package seeds and sets all of them."""
    import numpy as np
    import torch

    cudnn = torch.backends.cudnn
    numpy_state, flags = np.random.get_state(), (cudnn.deterministic, cudnn.benchmark)  # noqa: NPY002
    python_state = random.getstate()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        cudnn.deterministic, cudnn.benchmark = flags
