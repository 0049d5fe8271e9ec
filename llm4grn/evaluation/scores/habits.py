"""Evidence on how much of a network's score is knowledge of its targets, from shuffled and popular controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llm4grn.evaluation.scores.answers import DECISIVE, Answer
from llm4grn.evaluation.scores.controls import shuffled_run
from llm4grn.evaluation.scores.phrases import listed, outcome
from llm4grn.evaluation.scores.statistics import differences_of
from llm4grn.evaluation.scores.summary import Row
from llm4grn.metrics.registry import METRICS


def habit(answer: Answer) -> list[str]:
    """Return how far the subject's own shuffled lists go from the random network to it, in the decisive metrics.

    The distances are those of the means. Nothing is said of a metric in which the subject is no better than random.
    """
    subject, shuffled, random = answer.subject, answer.shuffled, answer.random
    if shuffled is None or random is None:
        return []
    parts = []
    for name in DECISIVE:
        if all(name in row.mean for row in (subject, shuffled, random)):
            gaps = [METRICS[name].shortfall(row.mean[name]) for row in (random, shuffled, subject)]
            if gaps[0] > gaps[2]:
                parts.append(f"{100 * (gaps[0] - gaps[1]) / (gaps[0] - gaps[2]):.0f} % by {METRICS[name].label}")
    if not parts:
        return []
    return [
        f"Habit: its own lists dealt out to other targets go {listed(parts)} of the way from the random network to it. "
        "That much needs no knowledge of the targets, only of which TFs to name."
    ]


def over_shuffled(runs: Sequence[Row], told: Sequence[Row], name: Callable[[Row], str]) -> list[str]:
    """Compare every other network with its own shuffled lists, with Holm's correction over these comparisons.

    Parameters
    ----------
    runs
        Runs of one data set.
    told
        Runs about which the answer or another line says this already.
    name
        Function that names a run.
    """
    others = [row for row in runs if all(row is not one for one in told)]
    pairs = [(row, shuffled) for row in others if (shuffled := shuffled_run(row, runs))]
    tests = differences_of(pairs)
    lines = []
    for row, shuffled in pairs:
        own = [test for test in tests if test.first is row and test.second is shuffled and test.metric in DECISIVE]
        if own:
            lines.append(f"Over its own lists dealt out to other targets, {name(row)} is {outcome(own)}.")
    return lines
