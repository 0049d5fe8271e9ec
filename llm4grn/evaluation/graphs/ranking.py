"""Score a ranking against true edges: AUROC, average precision, early precision, with exact treatment of ties.

All three depend on the positions of the true edges alone, so the hundreds of random references of a permutation
test are scored at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

STATISTICS = ("auroc", "auprc", "early_precision")
_AT_ONCE = 4_000_000  # positions held in memory at a time
_DRAWS_AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates grouped by tied scores, the best group first; build one with :meth:`of`.

    Parameters
    ----------
    group
        Group of each candidate, from 0 (n_candidates,).
    above
        Number of candidates in better groups than each group, then the number of all (n_groups + 1,).
    """

    group: np.ndarray
    above: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray) -> Ranking:
        """Rank ``scores`` (n_candidates,), the largest first; candidates without a score (-inf) are tied, last."""
        import numpy as np

        _, group, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
        return cls(group.ravel(), np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def n_candidates(self) -> int:
        """Return the number of candidates."""
        return len(self.group)

    def statistics(self, positives: np.ndarray) -> np.ndarray:
        """Score one or many sets of true edges.

        - AUROC: probability that a true edge is ranked above another candidate, ties counting half;
        - average precision, the area under the precision-recall curve by steps, sum over thresholds of (increase of
          recall) x precision, tied candidates entering together: scikit-learn's definition;
        - early precision: precision among the first E candidates, E the number of true edges. The tied group that
          position E splits contributes its expectation under a random order.

        Parameters
        ----------
        positives
            Positions of the true edges among the candidates, (n_sets, E) or (E,); within a set all different, at least
            one, and not all candidates.

        Returns
        -------
        ndarray
            Statistics in the order of ``STATISTICS``, (n_sets, 3) or (3,).
        """
        import numpy as np

        if positives.ndim == 1:
            return self.statistics(positives[None])[0]
        step = max(1, _AT_ONCE // positives.shape[1])
        parts = [positives[i : i + step] for i in range(0, len(positives), step)]
        return np.concatenate([self._statistics(np.sort(self.group[part], axis=1)) for part in parts])

    def _statistics(self, groups: np.ndarray) -> np.ndarray:
        """Compute the statistics from the groups of the true edges (n_sets, E), sorted within each set."""
        import numpy as np

        n_true = groups.shape[1]
        first, last = self.above[groups], self.above[groups + 1]
        n_false = self.n_candidates - n_true
        mean_position = (first + last + 1).mean(axis=1) / 2
        auroc = 1 - (mean_position - (n_true + 1) / 2) / n_false
        auprc = (_cumulative_counts(groups) / last).mean(axis=1)
        early = np.clip((n_true - first) / (last - first), 0, 1).mean(axis=1)
        return np.stack([auroc, auprc, early], axis=1)


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Permutation test that renames the targets of the true edges among targets with the same number of regulators.

    Each renaming is the same for all TFs. Where TFs are targets too, a renamed edge can become a self-loop, which is
    not a candidate. It is moved to another target of its TF at random, so that every random reference has as many
    edges.

    Parameters
    ----------
    ranking
        Ranking of the candidates, in the row-major order of ``candidates``.
    candidates
        Mask (n_tfs, n_targets), False for self-loops.
    true
        Rows and columns of the true edges in ``candidates`` (n_edges, 2), all different.
    """

    ranking: Ranking
    candidates: np.ndarray
    true: np.ndarray

    def run(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the three statistics, their means over ``n`` random references, and their p-values, (3,) each."""
        import numpy as np

        rng = np.random.default_rng(seed)
        position = np.cumsum(self.candidates.ravel()).reshape(self.candidates.shape) - 1
        tf, target = self.true.T
        observed = self.ranking.statistics(position[tf, target])
        total, as_good = np.zeros(3), np.ones(3)  # the reference itself counts as one that scores as well
        for start in range(0, n, _DRAWS_AT_ONCE):
            renamed = self._renamed(min(_DRAWS_AT_ONCE, n - start), rng)
            drawn = self.ranking.statistics(position[tf, renamed])
            total += drawn.sum(axis=0)
            # The tolerance counts equal values that another order of summation has rounded differently.
            as_good += (drawn >= observed - 1e-12).sum(axis=0)
        return observed, total / n, as_good / (1 + n)

    def _renamed(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return the targets of the true edges under ``n`` random renamings, (n, n_edges)."""
        import numpy as np

        tf, target = self.true.T
        degree = np.bincount(target, minlength=self.candidates.shape[1])
        # Sorting by degree, at random within a degree, puts another target of the same degree in the i-th place.
        shuffled = np.argsort(degree + rng.random((n, len(degree))), axis=1)
        names = np.empty_like(shuffled)
        names[:, np.argsort(degree, kind="stable")] = shuffled
        renamed = names[:, target]
        for row, edge in np.argwhere(~self.candidates[tf, renamed]):
            free = self.candidates[tf[edge]].copy()
            free[renamed[row, tf == tf[edge]]] = False
            renamed[row, edge] = rng.choice(np.flatnonzero(free))
        return renamed


def _cumulative_counts(groups: np.ndarray) -> np.ndarray:
    """Return, for each entry of sorted rows, the number of entries in its row that are not larger."""
    import numpy as np

    n = groups.shape[1]
    ends = np.ones(groups.shape, dtype=bool)
    ends[:, :-1] = groups[:, 1:] != groups[:, :-1]
    counts = np.where(ends, np.arange(1, n + 1), n)
    return np.minimum.accumulate(counts[:, ::-1], axis=1)[:, ::-1]
