"""How sure the scores are: an interval for every mean, a test for every two settings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np

from llm4grn.evaluation.scores.summary import Row
from llm4grn.metrics.registry import METRICS
from llm4grn.runtime.seeding import derive_seed

CONFIDENCE = 0.95
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """How well one setting does in one metric, and how well that is known.

    Parameters
    ----------
    row
        The setting.
    metric
        A name of the metric registry.
    mean, std
        As in the row; ``std`` is None for a single value.
    low, high
        Of the confidence interval of the mean; None for a single value.
    floor
        Mean of the control of the data set, None without one.
    useless
        Mean of the random-graph run of the data set, None without one (see :func:`useless_run`).
    share
        How much of the way from ``useless`` (0) to ``floor`` (1) the mean has gone; None where one of the two is
        missing, or where the random graph does not fall short of the control.
    seeds
        How many seeds the values come from.
    n
        How many values.
    """

    row: Row
    metric: str
    mean: float
    std: float | None
    low: float | None
    high: float | None
    floor: float | None
    useless: float | None
    share: float | None
    seeds: int
    n: int


@dataclass(frozen=True)
class Difference:
    """Two settings of a data set in one metric, paired over the seeds both have.

    Parameters
    ----------
    dataset, metric
        Where.
    first, second
        The settings.
    seeds
        Those both have.
    difference
        Mean over these seeds of (mean of the first's samples - mean of the second's).
    low, high
        Of its confidence interval (Student's t); None where there is no test.
    p
        Of the two-sided paired t-test over seed means. None with fewer than 2 seeds, and where the difference is the
        very same in all of them (counts can be so), which leaves no spread to measure it by; 1 where it is always 0.
    p_holm
        ``p`` corrected by Holm's method for all pairs that are compared in the same data set and metric.
    """

    dataset: str
    metric: str
    first: Row
    second: Row
    seeds: tuple[int, ...]
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the corrected p is below 5 %."""
        return self.p_holm is not None and self.p_holm < 1 - CONFIDENCE

    @property
    def means(self) -> tuple[float, float]:
        """Of both settings, over the shared seeds."""
        first, second = (_seed_means(row, self.metric) for row in (self.first, self.second))
        return fmean(first[seed] for seed in self.seeds), fmean(second[seed] for seed in self.seeds)

    @property
    def better(self) -> Row | None:
        """The setting nearer the metric's optimum over the shared seeds; None if they are level."""
        return self._nearer(*self.means)

    @property
    def leads(self) -> int:
        """On how many of the shared seeds the better setting is nearer the optimum; of level ones: both are level."""
        first, second = (_seed_means(row, self.metric) for row in (self.first, self.second))
        return sum(self._nearer(first[seed], second[seed]) is self.better for seed in self.seeds)

    def _nearer(self, first: float, second: float) -> Row | None:
        gaps = [METRICS[self.metric].shortfall(value) for value in (first, second)]
        return None if gaps[0] == gaps[1] else self.first if gaps[0] < gaps[1] else self.second


def intervals(rows: Sequence[Row], seed: int = 0) -> list[Interval]:
    """One record per row and metric, in the order of the rows and of the registry; none of rows that wholly collapsed.

    Parameters
    ----------
    rows
        From :func:`~llm4grn.evaluation.scores.summary.summarise`.
    seed
        Of the resampling; every interval has a stream of its own.
    """
    kept = [row for row in rows if not row.failed]
    return [_interval(row, name, rows, seed) for row in kept for name in METRICS if name in row.mean]


def bootstrap_interval(samples: Mapping[int, Sequence[float]], seed: int) -> tuple[float, float] | None:
    """Percentile interval of the mean, from resampled seeds and then resampled samples within each.

    The samples of a seed share a split and two trained networks, so they are alike: resampling all values at once would
    take them for independent and give too narrow an interval. Few seeds still give too narrow a one: simulated, with 4
    samples a seed that differ as much within as between seeds, 95 % intervals held the true mean in 75 % of cases for 2
    seeds, 84 % for 3, 90 % for 5, 93 % for 10. With one seed only its samples are resampled.

    Parameters
    ----------
    samples
        Seed -> values.
    seed
        Of the resampling.

    Returns
    -------
    Low and high end, or None for a single value.
    """
    sizes = np.array([len(values) for values in samples.values()])
    if sizes.sum() < 2:
        return None
    padded = np.zeros((len(sizes), sizes.max()))
    for i, values in enumerate(samples.values()):
        padded[i, : len(values)] = values
    rng = np.random.default_rng(seed)
    groups = rng.integers(len(sizes), size=(N_RESAMPLES, len(sizes)))
    drawn_sizes = sizes[groups][:, :, None]
    members = (rng.random((*groups.shape, sizes.max())) * drawn_sizes).astype(int)
    counts = np.arange(sizes.max()) < drawn_sizes
    means = (padded[groups[:, :, None], members] * counts).sum(axis=(1, 2)) / counts.sum(axis=(1, 2))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def useless_run(row: Row, rows: Sequence[Row]) -> Row | None:
    """The random graph to compare ``row`` with, which has its data set, model, KB and graph; None if there is none.

    A baseline has no KB and no graph, and a control no model: it is compared with the first that has what it has.
    """
    names = [name for name in ("dataset", "model", "kb", "graph") if row.source == "run" or getattr(row, name)]
    randoms = (other for other in rows if (other.source, other.inferer, other.failed) == ("run", "random", False))
    return next((one for one in randoms if all(getattr(one, name) == getattr(row, name) for name in names)), None)


def differences_of(pairs: Sequence[tuple[Row, Row]]) -> list[Difference]:
    """The given pairs of settings in every metric, corrected by Holm's method over exactly these pairs."""
    found = []
    for name in METRICS:
        tests = [_difference(first.dataset, name, first, second) for first, second in pairs]
        found += _corrected([test for test in tests if test])
    return found


def differences(rows: Sequence[Row]) -> list[Difference]:
    """Every two runs of a data set in every metric; runs of which all sets collapsed are left out.

    Ordered by data set, metric and pair. With one shared seed only the difference is known, without any there is no
    record.
    """
    found = []
    runs: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.source == "run" and not row.failed:
            runs[row.dataset].append(row)
    for members in runs.values():
        found += differences_of(list(combinations(members, 2)))
    return found


def differences_from(rows: Sequence[Row], source: str) -> list[Difference]:
    """Every run of a data set against its ``control``, or against the ``stage1`` of its model, in every metric.

    Runs of which all sets collapsed are left out. Holm's correction is for the runs of the same data set and metric.
    """
    found = []
    runs = [row for row in rows if row.source == "run" and not row.failed]
    for dataset in dict.fromkeys(row.dataset for row in runs):
        bases = [row for row in rows if (row.dataset, row.source) == (dataset, source) and not row.failed]
        own = [run for run in runs if run.dataset == dataset]
        found += differences_of([(run, base) for run in own for base in bases if base.model in ("", run.model)])
    return found


def critical_t(n_seeds: int) -> float:
    """How many standard errors a difference over ``n_seeds`` seeds must have for p < 5 %."""
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n_seeds - 1))


def _interval(row: Row, name: str, rows: Sequence[Row], seed: int) -> Interval:
    labels = (row.dataset, row.source, row.kb, row.inferer, row.llm, row.model, row.graph, name)
    low, high = bootstrap_interval(row.samples[name], derive_seed(seed, "bootstrap", *labels)) or (None, None)
    control = next((other for other in rows if (other.dataset, other.source) == (row.dataset, "control")), None)
    random = useless_run(row, rows)
    floor = control.mean.get(name) if control else None
    useless = random.mean.get(name) if random else None
    return Interval(
        row=row,
        metric=name,
        mean=row.mean[name],
        std=row.std.get(name),
        low=low,
        high=high,
        floor=floor,
        useless=useless,
        share=_share(name, row.mean[name], floor, useless),
        seeds=len(row.samples[name]),
        n=len(row.values[name]),
    )


def _share(name: str, mean: float, floor: float | None, useless: float | None) -> float | None:
    if floor is None or useless is None or METRICS[name].shortfall(useless) <= METRICS[name].shortfall(floor):
        return None
    return (useless - mean) / (useless - floor)


def _seed_means(row: Row, name: str) -> dict[int, float]:
    return {seed: fmean(values) for seed, values in row.samples.get(name, {}).items()}


def _difference(dataset: str, name: str, first: Row, second: Row) -> Difference | None:
    from scipy import stats

    a, b = _seed_means(first, name), _seed_means(second, name)
    seeds = tuple(sorted(a.keys() & b.keys()))
    if not seeds:
        return None
    gaps = [a[seed] - b[seed] for seed in seeds]
    found = Difference(dataset, name, first, second, seeds, fmean(gaps))
    if len(seeds) < 2 or all(math.isclose(gap, gaps[0]) for gap in gaps):
        return replace(found, p=1.0) if len(seeds) > 1 and not gaps[0] else found
    test = stats.ttest_rel([a[seed] for seed in seeds], [b[seed] for seed in seeds])
    low, high = test.confidence_interval(CONFIDENCE)
    return replace(found, low=float(low), high=float(high), p=float(test.pvalue))


def _corrected(pairs: Sequence[Difference]) -> list[Difference]:
    from statsmodels.stats.multitest import multipletests

    tested = [pair for pair in pairs if pair.p is not None]
    if not tested:
        return list(pairs)
    corrected = iter(multipletests([pair.p for pair in tested], method="holm")[1])
    return [pair if pair.p is None else replace(pair, p_holm=float(next(corrected))) for pair in pairs]
