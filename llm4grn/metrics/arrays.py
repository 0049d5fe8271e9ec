"""Steps that all metrics share: check two sets of cells, subsample the larger one, run linear algebra on one thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from llm4grn.errors import UserError
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike
    from threadpoolctl import ThreadpoolController

    Array = np.ndarray | torch.Tensor
    CellsLike = ArrayLike | torch.Tensor

N_REPEATS = 5
Value = TypeVar("Value")


@dataclass(frozen=True)
class RealCells:
    """Real cells that several sets are scored against: what a metric computes from them alone is computed once.

    Parameters
    ----------
    cells
        Shape (n_cells, n_genes); they must not change. A metric takes a ``RealCells`` wherever it takes real cells.

    Examples
    --------
    >>> real = RealCells(np.eye(2))
    >>> [real.once("sum", lambda: float(real.cells.sum())) for _ in range(2)]
    [2.0, 2.0]
    """

    cells: CellsLike
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, real: CellsLike | RealCells) -> RealCells:
        """Return ``real`` itself, or cells of which nothing is known yet."""
        return real if isinstance(real, RealCells) else cls(real)

    def once(self, name: Hashable, compute: Callable[[], Value]) -> Value:
        """Return what ``compute`` returned when it was first called for ``name``."""
        if name not in self._known:
            self._known[name] = compute()
        return cast(Value, self._known[name])


def pair(real: CellsLike | RealCells, synthetic: CellsLike, *, counts: bool = False) -> tuple[Array, Array]:
    """Return both sets as finite float64 matrices over the same genes.

    Parameters
    ----------
    real, synthetic
        Shape (n_cells, n_genes). If one is a tensor, both become tensors on its device, otherwise numpy arrays. Apple's
        GPU has no float64, so its tensors are moved to the CPU.
    counts
        If True, negative values are refused, too.

    Raises
    ------
    UserError
        If a set is empty, not a matrix, or holds NaN, infinite or (``counts``) negative values, or if the two sets
        differ in their number of genes.
    """
    real = RealCells.of(real).cells
    torch = sys.modules.get("torch")  # if it is not loaded, neither set is a tensor
    device = next((cells.device for cells in (real, synthetic) if torch and isinstance(cells, torch.Tensor)), None)
    real, synthetic = _matrix(real, "real", device), _matrix(synthetic, "synthetic", device)
    if real.shape[1] != synthetic.shape[1]:
        raise UserError(f"real cells have {real.shape[1]} genes, synthetic {synthetic.shape[1]}: give both the same")
    if counts and min(real.min(), synthetic.min()) < 0:
        name = "real" if real.min() < 0 else "synthetic"
        raise UserError(f"{name} cells hold negative values: this metric takes logarithms, give it counts")
    return real, synthetic


def _matrix(cells: CellsLike, name: str, device: torch.device | None) -> Array:
    matrix: Array
    if device is None:
        matrix = np.ascontiguousarray(cells, dtype=np.float64)
    else:
        import torch

        tensor = cells.detach() if isinstance(cells, torch.Tensor) else torch.as_tensor(np.asarray(cells))
        matrix = tensor.to("cpu" if device.type == "mps" else device).to(torch.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise UserError(f"{name} cells have shape {tuple(matrix.shape)}: give a non-empty matrix of (n_cells, n_genes)")
    if not namespace(matrix).isfinite(matrix).all():
        raise UserError(f"{name} cells hold NaN or infinite values: they cannot be scored; did training diverge?")
    return matrix


def namespace(cells: Array) -> ModuleType:
    """Return the module whose functions take these cells, ``numpy`` or ``torch``; both have the functions used here."""
    return np if isinstance(cells, np.ndarray) else sys.modules["torch"]


def on_device(cells: np.ndarray, device: str | torch.device) -> Array:
    """Return the cells as a float64 tensor on ``device`` if it is a GPU with float64, otherwise the array itself."""
    kind = str(device).partition(":")[0]
    if kind in ("cpu", "mps"):
        return cells
    import torch

    return torch.as_tensor(cells, dtype=torch.float64, device=device)


def to_numpy(cells: Array) -> np.ndarray:
    """Return the cells as a numpy array, for libraries that take no tensors."""
    return cells if isinstance(cells, np.ndarray) else cells.cpu().numpy()


def equal_size(real: Array, synthetic: Array, seed: int, n_repeats: int = N_REPEATS) -> Iterator[tuple[Array, Array]]:
    """Yield pairs of sets with the same number of cells, over which scores are averaged.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes).
    seed
        Seed for subsampling.
    n_repeats
        Number of subsamples of the larger set, drawn without replacement. Sets of equal size are yielded once,
        unchanged.

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
        sample = np.sort(rng.choice(max(len(real), len(synthetic)), size=n, replace=False))
        yield (real[sample], synthetic) if len(real) > n else (real, synthetic[sample])


@contextmanager
def one_thread() -> Iterator[None]:
    """Run linear algebra on one thread, because rounding of a sum depends on the number of threads that share it."""
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
    """Return the controller of the thread pools of all loaded libraries."""
    return _thread_pools(len(sys.modules))


@lru_cache(maxsize=1)
def _thread_pools(n_modules: int) -> ThreadpoolController:
    # The search for libraries takes longer than a metric of few cells, so it is repeated only after an import.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
