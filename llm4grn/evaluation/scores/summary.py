"""Summarise tidy results in one row per setting: shared baselines count once, collapsed sets are left out and named."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from llm4grn.metrics.registry import METRICS
from llm4grn.results import SOURCES, Result

COLLAPSE_FACTOR = 10.0

#: Groups of the paper's tables, by who names the transcription factors, in their order.
BASELINE, CURATED, ASKED, OTHER = SETTINGS = ("Baseline", "Setting 1", "Setting 2", "Other TFs")
_CURATED_KBS = ("human",)
_LLM_KBS = ("gpt4", "llama")
_LABELS = ("dataset", "source", "kb", "inferer", "llm", "model", "graph")


@dataclass(frozen=True)
class Row:
    """The scores of one setting over its samples and seeds.

    Parameters
    ----------
    dataset, source, kb, inferer, llm, model, graph
        As in :class:`~llm4grn.results.Result`; empty if they do not apply to a control or stage 1.
    seeds
        Seeds of the runs behind the row, including those whose sets all collapsed.
    samples
        Metric to seed to values of the scored sets of cells that count.
    collapsed_sets
        Seed and sample of sets whose mean cell lies more than ten times as far from the real one as the control's. They
        are left out of ``samples``, unless all sets collapsed or collapsed sets were requested.
    failed
        Whether all sets collapsed; the means then show the collapse.
    ambiguous
        Whether the same setting, seed and sample has different values, because an option that no label shows was
        varied.
    best, best_of_setting
        Metrics in which this run is the best of its data set, or of its setting (the paper's 1 or 2) on it, among at
        least two.
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
        """Return the group in ``SETTINGS``; a user-defined knowledge base is among the other TFs."""
        return setting_of(self.source, self.kb, self.llm)

    @property
    def collapsed(self) -> int:
        """Return the number of collapsed sets."""
        return len(self.collapsed_sets)

    @cached_property
    def values(self) -> dict[str, list[float]]:
        """Return the values of each metric, of all seeds together."""
        return {name: [value for part in seeds.values() for value in part] for name, seeds in self.samples.items()}

    @cached_property
    def mean(self) -> dict[str, float]:
        """Return the mean of each metric."""
        return {name: statistics.fmean(values) for name, values in self.values.items()}

    @cached_property
    def std(self) -> dict[str, float]:
        """Return the sample standard deviation of each metric that has more than one value."""
        return {name: statistics.stdev(values) for name, values in self.values.items() if len(values) > 1}

    @property
    def n(self) -> int:
        """Return the number of scored sets of cells (samples x seeds) behind the means."""
        return max(len(values) for values in self.values.values())


def setting_of(source: str, kb: str, llm: str) -> str:
    """Return the group of the paper's tables: a baseline, curated TFs, TFs named by a language model, or others."""
    if source != "run":
        return BASELINE
    if kb in _CURATED_KBS:
        return CURATED
    asked = kb.partition(" ")[0] in _LLM_KBS or (kb and kb == llm)  # "gpt4 anonymised" is gpt4, asked otherwise
    return ASKED if asked else OTHER


def summarise(results: Iterable[Result], with_collapsed: bool = False) -> list[Row]:
    """Summarise results in rows, per data set: control, stage 1, then the runs by name.

    A control belongs to its data set and seed, a stage 1 to its data set, seed and model: copies in the results of
    several runs count once, and so does a run that is given twice.

    Parameters
    ----------
    results
        Results of any number of runs.
    with_collapsed
        Whether to count collapsed sets of cells too.
    """
    groups: dict[tuple, set[Result]] = defaultdict(set)
    for result in results:
        own = _with_labels_that_apply(result)
        groups[own.dataset, SOURCES.index(own.source), own.kb, own.inferer, own.llm, own.model, own.graph].add(own)
    limits = _collapse_limits(groups)
    return _mark_best([_row(groups[key], limits.get(key[0]), with_collapsed) for key in sorted(groups)])


def _with_labels_that_apply(result: Result) -> Result:
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
    """Mark the best runs; runs that are equally good, or all at the optimum, share the mark."""
    runs = [row for row in rows if row.source == "run" and not row.failed]
    marked = []
    for row in rows:
        peers = [run for run in runs if run.dataset == row.dataset] if row in runs else []
        of_setting = [peer for peer in peers if peer.setting == row.setting]
        marked.append(replace(row, best=_won(row, peers), best_of_setting=_won(row, of_setting)))
    return marked


def _won(row: Row, peers: Sequence[Row]) -> frozenset[str]:
    """Return the metrics in which no peer is better, among those that another peer has; ``row`` is one of the peers."""
    won = set()
    for name, value in row.mean.items():
        shortfalls = [METRICS[name].shortfall(peer.mean[name]) for peer in peers if name in peer.mean]
        if len(shortfalls) > 1 and METRICS[name].shortfall(value) == min(shortfalls):
            won.add(name)
    return frozenset(won)
