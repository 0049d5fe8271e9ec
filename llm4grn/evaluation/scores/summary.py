"""From tidy results to one row per setting: shared baselines counted once, collapsed runs kept out and named."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from llm4grn.metrics.registry import METRICS
from llm4grn.results import SOURCES, Result

COLLAPSE_FACTOR = 10.0

#: Who names the transcription factors: the groups of the paper's tables, in their order.
BASELINE, CURATED, ASKED, OTHER = SETTINGS = ("Baseline", "Setting 1", "Setting 2", "Other TFs")
_CURATED_KBS = ("human",)
_LLM_KBS = ("gpt4", "llama")
_LABELS = ("dataset", "source", "kb", "inferer", "llm", "model", "graph")


@dataclass(frozen=True)
class Row:
    """One setting over its samples and seeds.

    Parameters
    ----------
    dataset, source, kb, inferer, llm, model, graph
        As in :class:`~llm4grn.results.Result`; empty where they play no part in a control or stage 1.
    seeds
        The run seeds behind the row, also those whose sets all collapsed.
    samples
        Metric -> seed -> values of the scored sets of cells that count.
    collapsed_sets
        Seed and sample of sets whose mean cell lies more than ten times as far from the real one as the control's. They
        are left out of ``samples``, unless all are, or all results are wanted.
    failed
        Whether all collapsed: the means then show the collapse.
    ambiguous
        The same setting, seed and sample came with different values: something the row does not name was varied.
    best, best_of_setting
        Metrics in which this run is the best run of its data set, or of its setting (the paper's 1 or 2) on it, if
        there is more than one to choose from.
    """

    dataset: str
    source: str
    kb: str
    inferer: str
    llm: str
    model: str
    graph: str
    seeds: tuple[int, ...]
    samples: dict[str, dict[int, tuple[float, ...]]] = field(repr=False)
    collapsed_sets: tuple[tuple[int, int], ...] = ()
    failed: bool = False
    ambiguous: bool = False
    best: frozenset[str] = frozenset()
    best_of_setting: frozenset[str] = frozenset()

    @property
    def setting(self) -> str:
        """One of ``SETTINGS``. A knowledge base with a name of your own is among the other TFs."""
        return setting_of(self.source, self.kb, self.llm)

    @property
    def collapsed(self) -> int:
        """How many sets collapsed."""
        return len(self.collapsed_sets)

    @cached_property
    def values(self) -> dict[str, list[float]]:
        """Per metric, the values of all seeds together."""
        return {name: [value for part in seeds.values() for value in part] for name, seeds in self.samples.items()}

    @cached_property
    def mean(self) -> dict[str, float]:
        """Per metric."""
        return {name: statistics.fmean(values) for name, values in self.values.items()}

    @cached_property
    def std(self) -> dict[str, float]:
        """Per metric the sample standard deviation; no entry where only one value stands."""
        return {name: statistics.stdev(values) for name, values in self.values.items() if len(values) > 1}

    @property
    def n(self) -> int:
        """Scored sets of cells (samples x seeds) behind the means."""
        return max(len(values) for values in self.values.values())


def setting_of(source: str, kb: str, llm: str) -> str:
    """Which group of the paper's tables: a baseline, curated TFs, TFs named by a language model, or others."""
    if source != "run":
        return BASELINE
    if kb in _CURATED_KBS:
        return CURATED
    return ASKED if kb in _LLM_KBS or (kb and kb == llm) else OTHER


def summarise(results: Iterable[Result], with_collapsed: bool = False) -> list[Row]:
    """Rows per data set: control, stage 1, then the runs by name.

    A control belongs to its data set and seed, a stage 1 to its data set, seed and model: copies that several runs
    wrote down count once, and so does a run that is given twice.

    Parameters
    ----------
    results
        Of any number of runs.
    with_collapsed
        Whether collapsed sets of cells count too.
    """
    groups: dict[tuple, set[Result]] = defaultdict(set)
    for result in results:
        own = _without_what_plays_no_part(result)
        groups[own.dataset, SOURCES.index(own.source), own.kb, own.inferer, own.llm, own.model, own.graph].add(own)
    limits = _collapse_limits(groups)
    return _mark_best([_row(groups[key], limits.get(key[0]), with_collapsed) for key in sorted(groups)])


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


def _row(members: set[Result], limit: float | None, with_collapsed: bool) -> Row:
    samples: dict[tuple[int, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for member in sorted(members, key=lambda m: (m.seed, m.sample, m.metric, m.value)):
        samples[member.seed, member.sample][member.metric].append(member.value)
    first = next(iter(members))
    collapsed = [
        key
        for key, values in samples.items()
        if limit is not None and first.source != "control" and max(values["euclidean_distance"], default=0.0) > limit
    ]
    failed = len(collapsed) == len(samples)
    kept: dict[str, dict[int, tuple[float, ...]]] = {name: {} for name in METRICS}
    for (seed, sample), values in samples.items():
        if with_collapsed or failed or (seed, sample) not in collapsed:
            for name in values:
                kept[name][seed] = (*kept[name].get(seed, ()), *values[name])
    return Row(
        **{name: getattr(first, name) for name in _LABELS},
        seeds=tuple(sorted({seed for seed, _ in samples})),
        samples={name: seeds for name, seeds in kept.items() if any(seeds.values())},
        collapsed_sets=tuple(collapsed),
        failed=failed,
        ambiguous=any(len(values) > 1 for sample in samples.values() for values in sample.values()),
    )


def _mark_best(rows: Sequence[Row]) -> list[Row]:
    """Mark the best runs; equally good ones (also: both at the floor) share the mark."""
    runs = [row for row in rows if row.source == "run" and not row.failed]
    marked = []
    for row in rows:
        peers = [run for run in runs if run.dataset == row.dataset] if row in runs else []
        of_setting = [peer for peer in peers if peer.setting == row.setting]
        marked.append(replace(row, best=_won(row, peers), best_of_setting=_won(row, of_setting)))
    return marked


def _won(row: Row, peers: Sequence[Row]) -> frozenset[str]:
    """Metrics in which no peer (of which ``row`` is one) is better, if there are others that have the metric."""
    won = set()
    for name, value in row.mean.items():
        shortfalls = [METRICS[name].shortfall(peer.mean[name]) for peer in peers if name in peer.mean]
        if len(shortfalls) > 1 and METRICS[name].shortfall(value) == min(shortfalls):
            won.add(name)
    return frozenset(won)
