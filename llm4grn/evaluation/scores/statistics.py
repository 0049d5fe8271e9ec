"""Statistics of the scores: a confidence interval for every mean, a paired test for every two settings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np

from llm4grn.evaluation.scores.controls import random_run, shuffled_run
from llm4grn.evaluation.scores.summary import Row
from llm4grn.metrics.registry import METRICS
from llm4grn.runtime.seeding import derive_seed

CONFIDENCE = 0.95
N_RESAMPLES = 10_000
_N_UNIT_RESAMPLES = 2_000  # of hundreds of units, which need fewer


@dataclass(frozen=True)
class Interval:
    """The mean of one setting in one metric, with its confidence interval.

    Parameters
    ----------
    row
        The setting.
    metric
        A name in the metric registry.
    mean, std
        As in the row; ``std`` is None for a single value.
    low, high
        Ends of the confidence interval of the mean; None for a single value.
    floor
        Mean of the control of the data set; None without one.
    useless
        Mean of the random-graph run of the data set; None without one (see
        :func:`~llm4grn.evaluation.scores.controls.random_run`).
    shuffled
        Mean of the run with the setting's own shuffled graph; None without one (see
        :func:`~llm4grn.evaluation.scores.controls.shuffled_run`).
    share
        Position of the mean between ``useless`` (0) and ``floor`` (1); None if one of the two is missing, or if the
        random graph is no worse than the control.
    seeds
        Number of seeds behind the values.
    n
        Number of values.
    """

    row: Row
    metric: str
    mean: float
    std: float | None
    low: float | None
    high: float | None
    floor: float | None
    useless: float | None
    shuffled: float | None
    share: float | None
    seeds: int
    n: int


@dataclass(frozen=True)
class Difference:
    """The difference of two settings of a data set in one metric, paired over the seeds that both have.

    Parameters
    ----------
    dataset, metric
        Data set and metric.
    first, second
        The settings.
    seeds
        Seeds that both settings have.
    difference
        Mean over these seeds of (mean of the first's samples - mean of the second's).
    low, high
        Ends of its confidence interval (Student's t); None without a test.
    p
        p-value of the two-sided paired t-test over seed means. None with fewer than 2 seeds, or if the difference is
        the same on all seeds (possible for counts), so that it has no variance; 1 if it is 0 on all seeds.
    p_holm
        ``p`` corrected by Holm's method over all pairs that are compared in the same data set and metric.
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
        """Return True if the corrected p-value is below 5 %."""
        return self.p_holm is not None and self.p_holm < 1 - CONFIDENCE

    @property
    def means(self) -> tuple[float, float]:
        """Return the means of both settings over the shared seeds."""
        first, second = (_seed_means(row, self.metric) for row in (self.first, self.second))
        return fmean(first[seed] for seed in self.seeds), fmean(second[seed] for seed in self.seeds)

    @property
    def better(self) -> Row | None:
        """Return the setting nearer the metric's optimum over the shared seeds; None if they are level."""
        return self._nearer(*self.means)

    @property
    def leads(self) -> int:
        """Return the number of shared seeds on which the better setting is nearer the optimum.

        If the settings are level, it is the number of seeds on which they are level.
        """
        first, second = (_seed_means(row, self.metric) for row in (self.first, self.second))
        return sum(self._nearer(first[seed], second[seed]) is self.better for seed in self.seeds)

    def _nearer(self, first: float, second: float) -> Row | None:
        gaps = [METRICS[self.metric].shortfall(value) for value in (first, second)]
        return None if gaps[0] == gaps[1] else self.first if gaps[0] < gaps[1] else self.second


def intervals(rows: Sequence[Row], seed: int = 0) -> list[Interval]:
    """Compute the interval of each row and metric, ordered as the rows and the registry; failed rows are left out.

    Parameters
    ----------
    rows
        Rows from :func:`~llm4grn.evaluation.scores.summary.summarise`.
    seed
        Seed for resampling; every interval has its own random stream.
    """
    kept = [row for row in rows if not row.failed]
    return [_interval(row, name, rows, seed) for row in kept for name in METRICS if name in row.mean]


def bootstrap_interval(samples: Mapping[int, Sequence[float]], seed: int) -> tuple[float, float] | None:
    """Compute a percentile interval of the mean by resampling seeds, then samples within each seed.

    The samples of a seed share a split and two trained networks, so they are correlated: resampling all values at once
    would treat them as independent and give too narrow an interval. With few seeds the interval is still too narrow: in
    a simulation with 4 samples per seed that vary as much within as between seeds, 95 % intervals contained the true
    mean in 75 % of cases for 2 seeds, 84 % for 3, 90 % for 5, 93 % for 10. With one seed only samples are resampled.

    Parameters
    ----------
    samples
        Seed to values.
    seed
        Seed for resampling.

    Returns
    -------
    Low and high end; None for a single value.
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


def mean_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Compute a percentile interval of the mean by resampling single units, for instance targets.

    Parameters
    ----------
    values
        One value per unit, shape (n,).
    seed
        Seed for resampling.

    Returns
    -------
    Low and high end; nan with fewer than two values.
    """
    if len(values) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(len(values), size=(_N_UNIT_RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def share_interval(n: int, n_units: int) -> tuple[float, float]:
    """Return Wilson's confidence interval of the share of units that are counted, ``n`` of ``n_units``, at least 1."""
    from scipy.stats import binomtest

    low, high = binomtest(n, n_units).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's method (Holm 1979), in their order.

    The function of statsmodels collects garbage at each call, which takes a tenth of a second in a large process.

    Examples
    --------
    >>> [round(p, 2) for p in holm([0.03, 0.01, 0.02])]
    [0.04, 0.03, 0.04]
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    corrected = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1)
    return corrected[np.argsort(order)].tolist()


def differences_of(pairs: Sequence[tuple[Row, Row]]) -> list[Difference]:
    """Test the given pairs of settings in every metric, with Holm's correction over exactly these pairs."""
    corrected = []
    for name in METRICS:
        tests = [_difference(first.dataset, name, first, second) for first, second in pairs]
        corrected += _corrected([test for test in tests if test])
    return corrected


def differences(rows: Sequence[Row]) -> list[Difference]:
    """Test every two runs of a data set in every metric; runs of which all sets collapsed are left out.

    The result is ordered by data set, metric and pair. Pairs with one shared seed have a difference but no test; pairs
    without a shared seed are left out.
    """
    tests: list[Difference] = []
    runs: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.source == "run" and not row.failed:
            runs[row.dataset].append(row)
    for members in runs.values():
        tests += differences_of(list(combinations(members, 2)))
    return tests


def differences_from(rows: Sequence[Row], source: str) -> list[Difference]:
    """Test every run against the ``control`` of its data set, or the ``stage1`` of its model, in every metric.

    Runs of which all sets collapsed are left out. Holm's correction is over the runs of the same data set and metric.
    """
    tests: list[Difference] = []
    runs = [row for row in rows if row.source == "run" and not row.failed]
    for dataset in dict.fromkeys(row.dataset for row in runs):
        bases = [row for row in rows if (row.dataset, row.source) == (dataset, source) and not row.failed]
        own = [run for run in runs if run.dataset == dataset]
        tests += differences_of([(run, base) for run in own for base in bases if base.model in ("", run.model)])
    return tests


def critical_t(n_seeds: int) -> float:
    """Return the number of standard errors that a difference over ``n_seeds`` seeds needs for p < 5 %."""
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n_seeds - 1))


def _interval(row: Row, name: str, rows: Sequence[Row], seed: int) -> Interval:
    labels = (row.dataset, row.source, row.kb, row.inferer, row.llm, row.model, row.graph, name)
    low, high = bootstrap_interval(row.samples[name], derive_seed(seed, "bootstrap", *labels)) or (None, None)
    control = next((other for other in rows if (other.dataset, other.source) == (row.dataset, "control")), None)
    random, shuffled = random_run(row, rows), shuffled_run(row, rows)
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
        shuffled=shuffled.mean.get(name) if shuffled else None,
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
    difference = Difference(dataset, name, first, second, seeds, fmean(gaps))
    if len(seeds) < 2 or all(math.isclose(gap, gaps[0]) for gap in gaps):
        return replace(difference, p=1.0) if len(seeds) > 1 and not gaps[0] else difference
    test = stats.ttest_rel([a[seed] for seed in seeds], [b[seed] for seed in seeds])
    low, high = test.confidence_interval(CONFIDENCE)
    return replace(difference, low=float(low), high=float(high), p=float(test.pvalue))


def _corrected(pairs: Sequence[Difference]) -> list[Difference]:
    tested = [pair for pair in pairs if pair.p is not None]
    if not tested:
        return list(pairs)
    corrected = iter(holm([pair.p for pair in tested if pair.p is not None]))
    return [pair if pair.p is None else replace(pair, p_holm=next(corrected)) for pair in pairs]
