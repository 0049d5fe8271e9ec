"""How well a ranking finds the true edges: AUROC, average precision, early precision, with exact treatment of ties.

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
    """Candidates grouped by tied scores, the best group first. Make one with :meth:`of`.

    Parameters
    ----------
    group
        (n_candidates,), the group of each candidate, from 0.
    above
        (n_groups + 1,), the number of candidates in better groups than each one; last, the number of all.
    """

    group: np.ndarray
    above: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray) -> Ranking:
        """Rank ``scores``, (n_candidates,), the largest first; -inf for candidates without a score: tied, last."""
        import numpy as np

        _, group, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
        return cls(group.ravel(), np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def n_candidates(self) -> int:
        return len(self.group)

    def statistics(self, positives: np.ndarray) -> np.ndarray:
        """Score one or many sets of true edges.

        - AUROC: probability that a true edge is ranked above another candidate, ties counting half;
        - average precision, the area under the precision-recall curve by steps, sum over thresholds of (increase of
          recall) x precision, tied candidates entering together: scikit-learn's definition;
        - early precision: precision among the first E candidates, E the number of true edges. Of the group that
          position E cuts through, what is expected if its order is drawn at random.

        Parameters
        ----------
        positives
            (n_sets, E) or (E,), positions of the true edges among the candidates; within a set all different, at least
            one, and not all candidates.

        Returns
        -------
        ndarray
            (n_sets, 3) or (3,), in the order of ``STATISTICS``.
        """
        import numpy as np

        if positives.ndim == 1:
            return self.statistics(positives[None])[0]
        step = max(1, _AT_ONCE // positives.shape[1])
        parts = [positives[i : i + step] for i in range(0, len(positives), step)]
        return np.concatenate([self._statistics(np.sort(self.group[part], axis=1)) for part in parts])

    def _statistics(self, groups: np.ndarray) -> np.ndarray:
        """The same from the groups of the true edges, sorted within each set."""
        import numpy as np

        n_true = groups.shape[1]
        first, last = self.above[groups], self.above[groups + 1]
        n_false = self.n_candidates - n_true
        mean_position = (first + last + 1).mean(axis=1) / 2
        auroc = 1 - (mean_position - (n_true + 1) / 2) / n_false
        auprc = (_found(groups) / last).mean(axis=1)
        early = np.clip((n_true - first) / (last - first), 0, 1).mean(axis=1)
        return np.stack([auroc, auprc, early], axis=1)


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Renames the targets of the true edges, all TFs alike, among targets with the same number of true regulators.

    Where TFs are targets too, a renamed edge can fall on a gene and itself, which is no candidate. It is put on another
    target of its TF at random, so that every random reference has as many edges.

    Parameters
    ----------
    ranking
        Of the candidates, in the row-major order of ``candidates``.
    candidates
        (n_tfs, n_targets), False for a gene and itself.
    true
        (n_edges, 2), rows and columns of ``candidates``, all different.
    """

    ranking: Ranking
    candidates: np.ndarray
    true: np.ndarray

    def run(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three statistics, their means over random references, and their p-values."""
        import numpy as np

        rng = np.random.default_rng(seed)
        position = np.cumsum(self.candidates.ravel()).reshape(self.candidates.shape) - 1
        tf, target = self.true.T
        observed = self.ranking.statistics(position[tf, target])
        total, as_good = np.zeros(3), np.ones(3)  # the reference itself is one of those that score as well
        for start in range(0, n, _DRAWS_AT_ONCE):
            renamed = self._renamed(min(_DRAWS_AT_ONCE, n - start), rng)
            drawn = self.ranking.statistics(position[tf, renamed])
            total += drawn.sum(axis=0)
            # The same value by another order of summation is as good, not worse.
            as_good += (drawn >= observed - 1e-12).sum(axis=0)
        return observed, total / n, as_good / (1 + n)

    def _renamed(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """The targets of the true edges, (n, n_edges), each row by another renaming."""
        import numpy as np

        tf, target = self.true.T
        degree = np.bincount(target, minlength=self.candidates.shape[1])
        # Sorted by degree, and at random within a degree: the i-th place is taken by another target of its degree.
        shuffled = np.argsort(degree + rng.random((n, len(degree))), axis=1)
        names = np.empty_like(shuffled)
        names[:, np.argsort(degree, kind="stable")] = shuffled
        renamed = names[:, target]
        for row, edge in np.argwhere(~self.candidates[tf, renamed]):
            free = self.candidates[tf[edge]].copy()
            free[renamed[row, tf == tf[edge]]] = False
            renamed[row, edge] = rng.choice(np.flatnonzero(free))
        return renamed


def _found(groups: np.ndarray) -> np.ndarray:
    """For each entry of sorted rows, how many entries of its row are not larger."""
    import numpy as np

    n = groups.shape[1]
    ends = np.ones(groups.shape, dtype=bool)
    ends[:, :-1] = groups[:, 1:] != groups[:, :-1]
    counts = np.where(ends, np.arange(1, n + 1), n)
    return np.minimum.accumulate(counts[:, ::-1], axis=1)[:, ::-1]
