"""From tidy results to one row per setting: shared baselines counted once, collapsed runs kept out and named."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from llm4grn.evaluation.results import SOURCES, Result
from llm4grn.metrics.registry import METRICS

COLLAPSE_FACTOR = 10.0


@dataclass(frozen=True)
class Row:
    """One setting over its samples and seeds.

    Parameters
    ----------
    dataset, source, kb, inferer, llm, model, graph
        As in :class:`~llm4grn.evaluation.results.Result`; empty where they play no part in a control or stage 1.
    seeds
        The run seeds behind the row.
    n
        Scored sets of cells (samples x seeds) behind the means.
    mean, std
        Per metric; the sample standard deviation, and no entry where only one value stands.
    collapsed
        Sets whose mean cell lies more than ten times as far from the real one as the control's. They are left out of
        the means, unless all are.
    failed
        Whether all collapsed: the means then show the collapse.
    ambiguous
        The same setting, seed and sample came with different values: something the row does not name was varied.
    best
        Metrics in which this run is the best run of its data set, if there is more than one to choose from.
    """

    dataset: str
    source: str
    kb: str
    inferer: str
    llm: str
    model: str
    graph: str
    seeds: tuple[int, ...]
    n: int
    mean: dict[str, float]
    std: dict[str, float]
    collapsed: int = 0
    failed: bool = False
    ambiguous: bool = False
    best: frozenset[str] = frozenset()


def summarise(results: Iterable[Result]) -> list[Row]:
    """Rows per data set: control, stage 1, then the runs by name.

    A control belongs to its data set and seed, a stage 1 to its data set, seed and model: copies that several runs
    wrote down count once, and so does a run that is given twice.
    """
    groups: dict[tuple, set[Result]] = defaultdict(set)
    for result in results:
        own = _without_what_plays_no_part(result)
        groups[own.dataset, SOURCES.index(own.source), own.kb, own.inferer, own.llm, own.model, own.graph].add(own)
    limits = _collapse_limits(groups)
    return _mark_best([_row(groups[key], limits.get(key[0])) for key in sorted(groups)])


def _without_what_plays_no_part(result: Result) -> Result:
    if result.source == "control":
        return replace(result, kb="", inferer="", llm="", graph="", model="")
    if result.source == "stage1":
        return replace(result, kb="", inferer="", llm="", graph="")
    return result


def _collapse_limits(groups: dict[tuple, set[Result]]) -> dict[str, float]:
    limits = {}
    for (dataset, source, *_), members in groups.items():
        distances = sorted(member.value for member in members if member.metric == "euclidean_distance")
        if SOURCES[source] == "control" and distances:
            limits[dataset] = COLLAPSE_FACTOR * statistics.fmean(distances)
    return limits


def _row(members: set[Result], limit: float | None) -> Row:
    samples: dict[tuple[int, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for member in sorted(members, key=lambda m: (m.seed, m.sample, m.metric, m.value)):
        samples[member.seed, member.sample][member.metric].append(member.value)
    first = next(iter(members))
    collapsed = {
        key
        for key, values in samples.items()
        if limit is not None and first.source != "control" and max(values["euclidean_distance"], default=0.0) > limit
    }
    failed = len(collapsed) == len(samples)
    kept = [values for key, values in samples.items() if failed or key not in collapsed]
    pooled = {name: [value for values in kept for value in values.get(name, [])] for name in METRICS}
    return Row(
        **{name: getattr(first, name) for name in ("dataset", "source", "kb", "inferer", "llm", "model", "graph")},
        seeds=tuple(sorted({seed for seed, _ in samples})),
        n=max(len(values) for values in pooled.values()),
        mean={name: statistics.fmean(values) for name, values in pooled.items() if values},
        std={name: statistics.stdev(values) for name, values in pooled.items() if len(values) > 1},
        collapsed=len(collapsed),
        failed=failed,
        ambiguous=any(len(values) > 1 for sample in samples.values() for values in sample.values()),
    )


def _mark_best(rows: Sequence[Row]) -> list[Row]:
    """Mark the best run of each data set and metric; equally good ones (also: both at the floor) share the mark."""
    marked = []
    for row in rows:
        peers = [other for other in rows if other.dataset == row.dataset and other.source == "run"]
        rivals = [peer for peer in peers if not peer.failed]
        best = set()
        for name, info in METRICS.items():
            shortfalls = [info.shortfall(other.mean[name]) for other in rivals if name in other.mean]
            if row in rivals and len(shortfalls) > 1 and name in row.mean:
                best |= {name} if info.shortfall(row.mean[name]) == min(shortfalls) else set()
        marked.append(replace(row, best=frozenset(best)))
    return marked
