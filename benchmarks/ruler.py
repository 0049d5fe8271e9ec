"""Which metric detects which damage? Real cells compared with disjoint real cells, intact and damaged in known ways.

It is run by ``python -m benchmarks.metrics ruler`` and, smaller, by ``tests/metrics/test_ruler.py``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from llm4grn.data.preprocess import Preprocessing
from llm4grn.data.sources import PBMC3k
from llm4grn.evaluation.scores.score import score
from llm4grn.metrics.registry import METRICS
from llm4grn.runtime.seeding import derive_seed

LIBRARY_SIZE = 20_000
NOISE = 0.1
N_COPIED = 50
COMMON_TYPE, RARE_TYPE = "CD14 Monocytes", "Dendritic"


@dataclass(frozen=True)
class Cells:
    """Raw counts of shape (n_cells, n_genes) and the type of each cell."""

    counts: np.ndarray
    types: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Cells:
        return Cells(self.counts[chosen], self.types[chosen])

    def __len__(self) -> int:
        return len(self.counts)


def pbmc3k(n_genes: int = 1000) -> Cells:
    """Return the raw counts of the shipped cells, over the genes that a run would select."""
    raw = PBMC3k().load()
    chosen = Preprocessing(n_genes=n_genes, min_cells=50, n_test=500, n_validation=500).run(raw, seed=0)
    kept = raw[chosen.obs_names, chosen.var_names]
    return Cells(kept.X.toarray().astype(np.float64), kept.obs["cell_type"].to_numpy().astype(str))


def normalised(counts: np.ndarray) -> np.ndarray:
    """Scale every cell to the library size of the metrics."""
    return counts * (LIBRARY_SIZE / counts.sum(axis=1, keepdims=True))


# -- damages: functions of spare cells, of which the first n are used, to normalised cells -----------------------------


def _as_they_are(spare: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
    return normalised(spare.counts[:n])


def _genes_shuffled(spare: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permuted(_as_they_are(spare, n, rng), axis=1)


def _cells_shuffled(spare: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permuted(_as_they_are(spare, n, rng), axis=0)


def _sizes_swapped(spare: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
    sizes = rng.permutation(spare.counts[:n].sum(axis=1))
    return _as_they_are(spare, n, rng) * (sizes / sizes.mean())[:, None]


def _without(cell_type: str) -> Callable[..., np.ndarray]:
    def damage(spare: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
        return _as_they_are(spare[spare.types != cell_type], n, rng)

    return damage


def _noise_added(spare: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
    counts = spare.counts[:n].astype(np.int64)
    moved = rng.binomial(counts, NOISE)
    n_genes = counts.shape[1]
    return normalised(counts - moved + rng.multinomial(moved.sum(axis=1), np.full(n_genes, 1 / n_genes)))


def _few_copied(spare: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
    return _as_they_are(spare, n, rng)[np.arange(n) % N_COPIED]


DAMAGES: dict[str, Callable[[Cells, int, np.random.Generator], np.ndarray]] = {
    "genes shuffled within each cell": _genes_shuffled,
    "each gene shuffled across cells": _cells_shuffled,
    "library sizes of other cells": _sizes_swapped,
    f"{COMMON_TYPE} dropped": _without(COMMON_TYPE),
    f"{RARE_TYPE} cells dropped": _without(RARE_TYPE),
    f"{NOISE:.0%} of the counts moved to random genes": _noise_added,
    f"{N_COPIED} cells, copied": _few_copied,
}
UNDAMAGED = "real against real"


@dataclass
class Ruler:
    """Values of each metric for each split, undamaged and for each damage.

    Parameters
    ----------
    values
        Damage (or ``UNDAMAGED``) to metric to values, one per split.
    """

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def mean(self, damage: str, metric: str) -> float:
        return statistics.fmean(self.values[damage][metric])

    def sees(self, damage: str, metric: str) -> bool:
        """Return True if every damaged split scores worse than every undamaged one; with 5 each, by chance 1 in 252."""
        worse, real = (self._worse(self.values[name][metric], metric) for name in (damage, UNDAMAGED))
        return min(worse) > max(real)

    def effect(self, damage: str, metric: str) -> float:
        """Return how much worse the damaged mean is, in standard deviations of the undamaged splits."""
        worse, real = (self._worse(self.values[name][metric], metric) for name in (damage, UNDAMAGED))
        return (statistics.fmean(worse) - statistics.fmean(real)) / statistics.stdev(real)

    @staticmethod
    def _worse(values: Iterable[float], metric: str) -> list[float]:
        sign = -1.0 if METRICS[metric].higher_is_better else 1.0
        return [sign * value for value in values]


def measure(
    cells: Cells, n_cells: int, seeds: Sequence[int], metrics: Sequence[str], damages: Sequence[str] = tuple(DAMAGES)
) -> Ruler:
    """Score every damage on one split of the cells for each seed.

    Parameters
    ----------
    cells
        Raw counts, enough for two disjoint sets, also without the dropped cell types.
    n_cells
        Number of cells in each of the two sets.
    seeds
        Seeds of the splits.
    metrics
        Names of metrics in the registry.
    damages
        Names of ``DAMAGES``; the undamaged cells are always scored.
    """
    ruler = Ruler()
    for seed in seeds:
        order = np.random.default_rng(derive_seed(seed, "ruler")).permutation(len(cells))
        real, spare = normalised(cells.counts[order[:n_cells]]), cells[order[n_cells:]]
        for name in (UNDAMAGED, *damages):
            damage = DAMAGES.get(name, _as_they_are)
            spoilt = damage(spare, n_cells, np.random.default_rng(derive_seed(seed, name)))
            for metric, value in score(real, spoilt, seed, metrics).items():
                ruler.values.setdefault(name, {}).setdefault(metric, []).append(value)
    return ruler
