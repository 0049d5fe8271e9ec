"""Tables of intervals and differences, with notes on what they can and cannot show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from llm4grn.evaluation.scores.names import label_header, labels, row_order, setting_name, varying_labels
from llm4grn.evaluation.scores.statistics import CONFIDENCE, N_RESAMPLES, Difference, Interval, critical_t
from llm4grn.metrics.registry import METRICS
from llm4grn.report.blocks import Cell, Table
from llm4grn.report.renderers import MISSING

_LEVEL = f"{CONFIDENCE:.0%}"


def interval_table(intervals: Sequence[Interval], seed: int) -> Table:
    """Tabulate each mean, its interval, and its position between random graph and control, by metric and setting.

    Parameters
    ----------
    intervals
        Intervals from :func:`~llm4grn.evaluation.scores.statistics.intervals`.
    seed
        Seed of their bootstrap, for the notes.
    """
    varying = varying_labels([interval.row for interval in intervals])
    dataset, *others = label_header(varying)
    metrics = list(METRICS)
    with_shuffled = any(one.shuffled is not None for one in intervals)
    rows: list[list[Cell | str]] = []
    for one in sorted(intervals, key=lambda one: (one.row.dataset, metrics.index(one.metric), row_order(one.row))):
        name, *rest = labels(one.row, varying)
        values = [one.mean, one.std, one.low, one.high, one.floor, one.useless]
        values += [one.shuffled] if with_shuffled else []
        rows.append(
            [
                *(name, METRICS[one.metric].label, *rest),
                *(_cell(value, METRICS[one.metric].format) for value in values),
                _cell(one.share, "{:z.2f}".format),
                *(_cell(one.seeds, str), _cell(one.n, str)),
            ]
        )
    useless = ["Useless", *(["Shuffled"] if with_shuffled else [])]
    header = ["Mean", "Std", "CI low", "CI high", "Floor", *useless, "Share", "Seeds", "n"]
    return Table(
        name="intervals",
        title=f"How sure the means are: {_LEVEL} confidence intervals",
        header=[dataset, "Metric", *others, *header],
        rows=rows,
        n_labels=len(others) + 2,
        notes=_interval_notes(intervals, seed),
    )


def difference_table(differences: Sequence[Difference]) -> Table:
    """Tabulate the difference of each pair of settings in each metric, and whether it is more than chance.

    Parameters
    ----------
    differences
        Differences from :func:`~llm4grn.evaluation.scores.statistics.differences`.
    """
    varying = varying_labels([row for one in differences for row in (one.first, one.second)])
    rows: list[list[Cell | str]] = []
    for one in differences:
        info = METRICS[one.metric]
        rows.append(
            [
                *(one.dataset, info.label, setting_name(one.first, varying), setting_name(one.second, varying)),
                *(_cell(value, f"{{:+.{info.digits}f}}".format) for value in (one.difference, one.low, one.high)),
                _cell(len(one.seeds), str),
                *(_cell(p, _p) for p in (one.p, one.p_holm)),
                _verdict(one),
            ]
        )
    header = ["Difference", "CI low", "CI high", "Seeds", "p", "p (Holm)", "More than chance"]
    return Table(
        name="differences",
        title="Which differences are more than chance: first minus second setting, paired over seeds",
        header=["Data set", "Metric", "First", "Second", *header],
        rows=rows,
        n_labels=4,
        notes=_difference_notes(differences),
    )


def _cell(value: float | None, format_value: Callable[[float], str]) -> Cell:
    return Cell(MISSING) if value is None else Cell(format_value(value), value)


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _verdict(one: Difference) -> str:
    if one.p is None:
        return "not tested"
    if not one.is_beyond_chance or one.better is None:
        return "no"
    return "first is better" if one.better is one.first else "second is better"


def _interval_notes(intervals: Sequence[Interval], seed: int) -> list[str]:
    notes = [
        f"Confidence interval (CI) of the mean: {_LEVEL} percentile bootstrap, {N_RESAMPLES} resamples, seed {seed}. "
        "Seeds are drawn with replacement, then samples within each, as those of a seed share a split and a training."
    ]
    if any(one.seeds == 1 for one in intervals):
        notes.append(
            "With one seed only its samples are drawn: the interval says nothing about other splits and trainings."
        )
    if any(1 < one.seeds < 5 for one in intervals):
        notes.append("With fewer than 5 seeds the interval is too narrow: how much seeds differ is hardly known.")
    if any(one.useless is not None for one in intervals):
        notes.append(
            "Useless: the random graph of the same data set, model, KB and graph size; beside control and stage 1, "
            "which have no KB, the first. Share: of the way from it to the floor (control); 0 = no better than a "
            "random graph, 1 = at the control."
        )
    if any(one.shuffled is not None for one in intervals):
        notes.append("Shuffled: the setting's own lists of regulators, dealt out to other targets.")
    return notes


def _difference_notes(differences: Sequence[Difference]) -> list[str]:
    """Return notes on the tests, then on what their numbers of seeds can show."""
    tested = Counter((one.dataset, one.metric) for one in differences if one.p is not None)
    notes = [
        "Per seed the mean over its samples; the difference of these is averaged over the seeds both settings have. "
        f"Interval ({_LEVEL}, uncorrected) and p: paired t-test, two-sided. Collapsed sets are left out."
    ]
    if tested:
        sizes = sorted(set(tested.values()))
        notes.append(
            f"p (Holm): corrected for the pairs of a data set and metric ({' or '.join(map(str, sizes))} of them), not "
            f"for the number of metrics. More than chance: p (Holm) < {1 - CONFIDENCE:.2f}."
        )
    notes += [_power_note(n) for n in sorted({len(one.seeds) for one in differences}) if n < 5]
    if any(one.p is None and len(one.seeds) > 1 for one in differences):
        notes.append("Not tested with several seeds: the difference is the very same in all, so its spread is unknown.")
    return notes


def _power_note(n: int) -> str:
    if n == 1:
        return "1 shared seed: nothing can be said about chance; the difference may be that of one split or training."
    limit = critical_t(n)
    text = f"{n} shared seeds: p < {1 - CONFIDENCE:.2f} needs a difference of {limit:.1f} standard errors"
    if n == 2:
        # For two differences d1 and d2, t = (d1 + d2) / |d1 - d2|.
        text += f", that is two differences within {2 / limit:.0%} of their mean of each other"
    return f"{text}. A small difference will not reach that: 'no' does not mean that two settings are alike."
