"""What every metric does first: check the two sets of cells, make them equally large, keep rounding off the threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    import torch
    from threadpoolctl import ThreadpoolController

    Array = np.ndarray | torch.Tensor

N_REPEATS = 5


def pair(real, synthetic, *, counts: bool = False) -> tuple[Array, Array]:
    """Both sets as finite float64 matrices over the same genes.

    Parameters
    ----------
    real, synthetic
        Shape (n_cells, n_genes). If one is a tensor both become tensors on its device, otherwise numpy arrays. Apple's
        GPU knows no float64: its tensors are moved to the CPU.
    counts
        Whether negative values are refused as well.

    Raises
    ------
    UserError
        Names the set that is empty, no matrix, or holds unfit values; or the two numbers of genes.
    """
    device = next((cells.device for cells in (real, synthetic) if hasattr(cells, "detach")), None)
    real, synthetic = (_matrix(cells, name, device) for cells, name in ((real, "real"), (synthetic, "synthetic")))
    if real.shape[1] != synthetic.shape[1]:
        raise UserError(f"real cells have {real.shape[1]} genes, synthetic {synthetic.shape[1]}: give both the same")
    if counts and min(real.min(), synthetic.min()) < 0:
        name = "real" if real.min() < 0 else "synthetic"
        raise UserError(f"{name} cells hold negative values: this metric takes logarithms, give it counts")
    return real, synthetic


def _matrix(cells, name: str, device: torch.device | None) -> Array:
    if device is None:
        cells = np.ascontiguousarray(cells, dtype=np.float64)
    else:
        import torch

        place = "cpu" if device.type == "mps" else device
        cells = cells.detach() if hasattr(cells, "detach") else torch.as_tensor(np.asarray(cells))
        cells = cells.to(place).to(torch.float64)
    if cells.ndim != 2 or 0 in cells.shape:
        raise UserError(f"{name} cells have shape {tuple(cells.shape)}: give a non-empty matrix of (n_cells, n_genes)")
    if not namespace(cells).isfinite(cells).all():
        raise UserError(f"{name} cells hold NaN or infinite values: they cannot be scored; did training diverge?")
    return cells


def namespace(cells: Array) -> ModuleType:
    """``numpy`` or ``torch``: the module whose functions take these cells. The two share the names used here."""
    return np if isinstance(cells, np.ndarray) else sys.modules["torch"]


def on_device(cells: np.ndarray, device: str | torch.device) -> Array:
    """The cells as float64 where a metric can compute with them: a tensor on a GPU, else the array itself."""
    kind = str(device).partition(":")[0]
    if kind in ("cpu", "mps"):
        return cells
    import torch

    return torch.as_tensor(cells, dtype=torch.float64, device=device)


def to_numpy(cells: Array) -> np.ndarray:
    """For libraries that know no tensors."""
    return cells if isinstance(cells, np.ndarray) else cells.cpu().numpy()


def equal_size(real, synthetic, seed: int, n_repeats: int = N_REPEATS) -> Iterator[tuple[Array, Array]]:
    """Pairs of sets with the same number of cells; scores are averaged over them.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes).
    seed
        Of the subsampling.
    n_repeats
        How often the larger set is subsampled, without replacement. Sets of equal size come back once, untouched.

    Examples
    --------
    >>> [(len(r), len(s)) for r, s in equal_size(np.eye(3), np.eye(3)[:2], seed=0, n_repeats=2)]
    [(2, 2), (2, 2)]
    """
    n = min(len(real), len(synthetic))
    if len(real) == len(synthetic):
        yield real, synthetic
        return
    for repeat in range(n_repeats):
        rng = np.random.default_rng(derive_seed(seed, "equal_size", repeat))
        kept = np.sort(rng.choice(max(len(real), len(synthetic)), size=n, replace=False))
        yield (real[kept], synthetic) if len(real) > n else (real, synthetic[kept])


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one thread: how many share a sum decides how it is rounded."""
    torch = sys.modules.get("torch")
    n_threads = torch.get_num_threads() if torch else 1
    with thread_pools().limit(limits=1, user_api="blas"):
        try:
            if torch:
                torch.set_num_threads(1)
            yield
        finally:
            if torch:
                torch.set_num_threads(n_threads)


def thread_pools() -> ThreadpoolController:
    """Of the libraries that are loaded."""
    return _thread_pools(len(sys.modules))


@lru_cache(maxsize=1)
def _thread_pools(n_modules: int) -> ThreadpoolController:
    # The search takes milliseconds, a metric of few cells less: it is repeated only when a module has been imported.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
