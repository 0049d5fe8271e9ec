"""Overlap of imposed graphs, and its expectation for random graphs of their size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations, combinations_with_replacement, product
from statistics import fmean

from llm4grn.evaluation.graphs.runs import GraphRun, by_setting
from llm4grn.grn.causal_graph import CausalGraph, overlap


@dataclass(frozen=True)
class Overlap:
    """The overlap of the graphs of two settings, or of the graphs of one setting.

    Parameters
    ----------
    a, b
        The settings; the same twice for the consistency of one setting.
    same_cells
        Whether the graphs of each pair come from one split, so that they differ by the inference alone.
    values
        Overlap of each pair of graphs: the mean over targets of the Jaccard index.
    chance
        Overlap expected of random graphs with as many regulators per target, mean over the pairs.
    targets
        Number of targets compared, mean over the pairs.
    """

    a: tuple[str, str, str]
    b: tuple[str, str, str]
    same_cells: bool
    values: tuple[float, ...]
    chance: float
    targets: float


def overlaps(runs: Sequence[GraphRun]) -> list[Overlap]:
    """Compute the overlap of each two settings of a data set, and of each setting's graphs over seeds.

    Graphs of the same split are compared; only if there are none, graphs of different splits.
    """
    settings = by_setting(runs)
    result = []
    for a, b in combinations_with_replacement(settings, 2):
        if a[0] != b[0]:
            continue
        pairs = list(combinations(settings[a], 2) if a == b else product(settings[a], settings[b]))
        within = [(one, other) for one, other in pairs if one.seed == other.seed]
        results = [_compare(one.causal_graph, other.causal_graph) for one, other in within or pairs]
        compared = [each for each in results if each is not None]
        if compared:
            values, chances, targets = zip(*compared, strict=True)
            result.append(Overlap(a, b, bool(within), values, fmean(chances), fmean(targets)))
    return result


def _compare(a: CausalGraph, b: CausalGraph) -> tuple[float, float, int] | None:
    """Return overlap, its expectation by chance and the number of targets, on common genes; None without targets."""
    genes = set(a.genes) & set(b.genes)
    one, other = ({target: set(tfs) & genes for target, tfs in graph.regulators.items()} for graph in (a, b))
    targets = [gene for gene in a.genes if gene in one and gene in other and one[gene] | other[gene]]
    if not targets:
        return None
    tfs, other_tfs = (genes & {*graph.tf_names, *chain(*graph.regulators.values())} for graph in (a, b))
    sizes = len(tfs), len(other_tfs), len(tfs & other_tfs)
    chance = fmean(chance_overlap(*sizes, len(one[target]), len(other[target])) for target in targets)
    kept = (CausalGraph(tuple(genes), {target: tuple(tfs[target]) for target in targets}) for tfs in (one, other))
    return overlap(*kept), chance, len(targets)


@lru_cache
def chance_overlap(n_a: int, n_b: int, n_shared: int, k_a: int, k_b: int) -> float:
    """Compute the expected Jaccard index of ``k_a`` of ``n_a`` TFs and ``k_b`` of ``n_b`` TFs, drawn at random.

    Parameters
    ----------
    n_a, n_b, n_shared
        Sizes of the two sets of TFs to draw from, and of their intersection.
    k_a, k_b
        Number of TFs drawn from each.

    Examples
    --------
    >>> round(chance_overlap(3, 3, 3, 1, 1), 4)  # one of the same three each
    0.3333
    """
    import numpy as np
    from scipy.stats import hypergeom

    eligible = np.arange(k_a + 1)  # number of TFs in the first draw that are in the second set
    in_both = np.arange(min(k_a, k_b) + 1)
    jaccard = in_both / (k_a + k_b - in_both)
    given_eligible = hypergeom.pmf(in_both, n_b, eligible[:, None], k_b) @ jaccard
    return float(hypergeom.pmf(eligible, n_a, n_shared, k_a) @ given_eligible)
