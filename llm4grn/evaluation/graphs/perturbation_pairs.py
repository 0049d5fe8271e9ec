"""The pairs of a perturbed transcription factor and a measured target of one graph, with the effects between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from llm4grn.evaluation.graphs.perturbation_effects import Effects

if TYPE_CHECKING:
    import numpy as np

    from llm4grn.grn.causal_graph import CausalGraph

#: Level of the Mann-Whitney test.
ALPHA = 0.05

#: Sum of a metric's values over the pairs of each TF, and the number of these pairs, (n_tfs,) each.
Terms = tuple["np.ndarray", "np.ndarray"]


def tfs_of(graph: CausalGraph) -> set[str]:
    """Return the TFs of a graph: its roots, and the targets that regulate something."""
    return {*graph.tf_names, *(tf for tfs in graph.regulators.values() for tf in tfs)}


@dataclass(frozen=True)
class Pairs:
    """The candidate edges of one graph, with the effects that were measured; all matrices are (n_tfs, n_targets).

    Parameters
    ----------
    tfs, targets
        TFs of the graph that are perturbed, targets of the graph that are measured.
    candidates
        Mask of the pairs of two genes.
    edges, omitted
        Masks of the candidates that are edges, and of those without a directed path from the TF.
    wasserstein, p_value, change
        Effects, see :class:`~llm4grn.evaluation.graphs.perturbation_effects.Effects`.
    """

    tfs: tuple[str, ...]
    targets: tuple[str, ...]
    candidates: np.ndarray
    edges: np.ndarray
    omitted: np.ndarray
    wasserstein: np.ndarray
    p_value: np.ndarray
    change: np.ndarray

    @classmethod
    def of(cls, effects: Effects, graph: CausalGraph) -> Pairs:
        """Choose the candidates of a graph."""
        import networkx as nx
        import numpy as np

        known, network = tfs_of(graph), graph.to_networkx()
        tfs = [tf for tf in effects.tfs if tf in known]
        targets = [gene for gene in effects.genes if gene in graph.regulators]
        rows, columns = [effects.tfs.index(tf) for tf in tfs], [effects.genes.index(gene) for gene in targets]
        candidates, edges, reached = np.zeros((3, len(tfs), len(targets)), dtype=bool)
        for i, tf in enumerate(tfs):
            below = nx.descendants(network, tf)
            candidates[i] = [target != tf for target in targets]
            edges[i] = [tf in graph.regulators[target] for target in targets]
            reached[i] = [target in below for target in targets]
        part = np.ix_(rows, columns)
        matrices = (effects.wasserstein[part], effects.p_value[part], effects.change[part])
        return cls(tuple(tfs), tuple(targets), candidates, edges, candidates & ~reached, *matrices)

    @cached_property
    def significant(self) -> np.ndarray:
        """Mask of the pairs with an effect by the Mann-Whitney test."""
        return self.p_value < ALPHA

    @cached_property
    def percentile(self) -> np.ndarray:
        """Percentile of each Wasserstein distance among the candidates of the same TF."""
        return self._percentiles(self.wasserstein)

    @cached_property
    def percentile_mann_whitney(self) -> np.ndarray:
        """Percentile of each p-value among the candidates of the same TF, 100 for the smallest."""
        return self._percentiles(-self.p_value)

    @cached_property
    def most_responsive(self) -> np.ndarray:
        """Mask of as many targets per TF as in the graph: those that the perturbations of other TFs change most."""
        import numpy as np

        chosen = np.zeros_like(self.edges)
        if len(self.tfs) < 2:
            return chosen
        for i, degree in enumerate(self.edges.sum(axis=1)):
            others = np.delete(np.where(self.candidates, self.wasserstein, np.nan), i, axis=0)
            # A TF that is a target has no effect on itself: with two TFs, nothing is known of it.
            mean = np.nansum(others, axis=0) / np.maximum((~np.isnan(others)).sum(axis=0), 1)
            chosen[i, np.argsort(np.where(self.candidates[i], -mean, np.inf), kind="stable")[:degree]] = True
        return chosen

    def strongest(self, n: int) -> np.ndarray:
        """Return the mask of the ``n`` candidates of smallest p-value; among equal ones, of largest distance."""
        import numpy as np

        p_value = np.where(self.candidates, self.p_value, np.inf)
        chosen = np.zeros(p_value.size, dtype=bool)
        chosen[np.lexsort((-self.wasserstein.ravel(), p_value.ravel()))[:n]] = True
        return chosen.reshape(p_value.shape)

    def terms(self, chosen: np.ndarray, strongest: np.ndarray) -> dict[str, Terms]:
        """Return sum and number of each metric's values over the ``chosen`` pairs of each TF."""
        values = self._values(strongest)
        return {name: per_tf(of, chosen) for name, of in values.items()}

    def expected(self) -> dict[str, Terms]:
        """Return the same, expected of targets drawn at random, as many for each TF as in the graph."""
        import numpy as np

        degrees, terms = self.edges.sum(axis=1), {}
        for name, of in self._values(self.strongest(int(degrees.sum()))).items():
            sums, counts = per_tf(of, self.candidates)
            terms[name] = degrees * sums / np.maximum(counts, 1), degrees
        return terms

    def _values(self, strongest: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "percentile": self.percentile,
            "percentile_mann_whitney": self.percentile_mann_whitney,
            "wasserstein": self.wasserstein,
            "precision": self.significant,
            "precision_at_size": strongest,
        }

    def _percentiles(self, strength: np.ndarray) -> np.ndarray:
        import numpy as np
        from scipy.stats import rankdata

        ranks = rankdata(np.where(self.candidates, strength, np.nan), axis=1, nan_policy="omit")
        return 100 * (ranks - 0.5) / np.maximum(self.candidates.sum(axis=1, keepdims=True), 1)


def per_tf(values: np.ndarray, chosen: np.ndarray) -> Terms:
    """Return the sum of the chosen values of each TF, and their number, (n_tfs,) each."""
    import numpy as np

    return np.where(chosen, values, 0.0).sum(axis=1), chosen.sum(axis=1)
