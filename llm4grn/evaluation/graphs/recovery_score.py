"""Score ranked edges against an imposed graph: precision at k, average precision, precision-recall curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from llm4grn.evaluation.graphs.ranking import Ranking
from llm4grn.grn.causal_graph import CausalGraph

if TYPE_CHECKING:
    import numpy as np

    from llm4grn.grn import GRN

_POINTS = 100  # recall levels of a curve


@dataclass(frozen=True)
class Recovery:
    """Agreement of a ranked network with an imposed graph, over all pairs of a TF and another gene.

    Parameters
    ----------
    precision_at_k
        Share of true regulators among a target's k best ranked, k their true number; mean over targets.
    random_precision
        Precision at k expected of a random order: k over the number of TFs, mean over targets.
    auprc, random_auprc
        Average precision over the edges of all targets, and its value for a random order: the share of true edges.
    silent
        Share of targets for which no TF is ranked, for instance because no cell expresses them.
    recall, precision
        Precision-recall curve: the precision at which each level of recall is first reached.
    """

    precision_at_k: float
    random_precision: float
    auprc: float
    random_auprc: float
    silent: float
    recall: tuple[float, ...]
    precision: tuple[float, ...]


def score_recovery(grn: GRN, graph: CausalGraph, tf_names: Sequence[str]) -> Recovery:
    """Compare ranked edges with an imposed graph.

    Parameters
    ----------
    grn
        Ranked TFs of targets; a pair that is not ranked is tied with others like it, last.
    graph
        The imposed graph. Edges onto a TF, which a layered graph has, are left out because the inferers rank none.
    tf_names
        The TFs that the inferer was given.
    """
    import numpy as np

    tfs, targets = list(tf_names), [target for target in graph.targets if target not in set(tf_names)]
    ranked = grn.edges[grn.edges["TF"].isin(tfs) & grn.edges["target"].isin(targets)]
    matrix = ranked.pivot(index="TF", columns="target", values="importance").reindex(index=tfs, columns=targets)
    importance = np.nan_to_num(matrix.to_numpy(dtype=float), nan=-np.inf)
    place = {tf: i for i, tf in enumerate(tfs)}
    true = [np.array([place[tf] for tf in graph.regulators[target] if tf in place], dtype=int) for target in targets]
    precisions = [_early_precision(column, own) for column, own in zip(importance.T, true, strict=True) if len(own)]
    ranking = Ranking.of(importance.T.ravel())
    positives = np.concatenate([i * len(tfs) + own for i, own in enumerate(true)])
    recall, precision = _curve(ranking, positives)
    return Recovery(
        precision_at_k=fmean(precisions),
        random_precision=fmean(len(own) / len(tfs) for own in true if len(own)),
        auprc=float(ranking.statistics(positives)[1]) if len(positives) < ranking.n_candidates else 1.0,
        random_auprc=len(positives) / ranking.n_candidates,
        silent=float(np.isneginf(importance).all(axis=0).mean()),
        recall=recall,
        precision=precision,
    )


def _early_precision(scores: np.ndarray, true: np.ndarray) -> float:
    """Return the share of ``true`` among as many best scores, with its expectation over the orders of ties."""
    if len(true) == len(scores):
        return 1.0
    return float(Ranking.of(scores).statistics(true)[2])


def _curve(ranking: Ranking, positives: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    import numpy as np

    hits = np.cumsum(np.bincount(ranking.group[positives], minlength=len(ranking.above) - 1))
    recall, precision = hits / len(positives), hits / ranking.above[1:]
    at = np.searchsorted(recall, np.linspace(0, 1, _POINTS + 1)[1:] - 1e-12)
    return tuple(recall[at].tolist()), tuple(precision[at].tolist())
