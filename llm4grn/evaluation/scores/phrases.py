"""The numbers behind a comparison, in words: means, seeds and p-values."""

from __future__ import annotations

from collections.abc import Sequence

from llm4grn.evaluation.scores.statistics import CONFIDENCE, Difference
from llm4grn.metrics.registry import METRICS


def each(tests: Sequence[Difference]) -> str:
    """Return numbers, seeds and p-value of each metric."""
    return "; ".join(", ".join(filter(None, (values(test), _direction(test), _p(test)))) for test in tests)


def values(test: Difference) -> str:
    """Return the means of both settings."""
    info = METRICS[test.metric]
    return f"{info.label} {info.format(test.means[0])} against {info.format(test.means[1])}"


def _direction(test: Difference) -> str:
    if len(test.seeds) == 1:
        return ""
    side = "level" if test.better is None else "lower" if test.better is test.first else "higher"
    return f"{side} on {share(test)}"


def share(test: Difference) -> str:
    """Return on how many of the seeds the better setting leads."""
    of = seeds(test)
    return f"each of {of}" if test.leads == len(test.seeds) else f"{test.leads} of {of}"


def seeds(test: Difference) -> str:
    """Return the number of seeds, marked as shared if one of the settings has others."""
    shared = "" if {*test.seeds} == {*test.first.seeds, *test.second.seeds} else "shared "
    return f"{len(test.seeds)} {shared}seed{'s' * (len(test.seeds) > 1)}"


def _p(test: Difference) -> str:
    if test.p_holm is None:
        return "" if len(test.seeds) == 1 else "no test as the difference is the very same on each"
    return p_value(test.p_holm)


def p_values(tests: Sequence[Difference]) -> str:
    """Return the p-values as in ``p = 0.010 and 0.020``."""
    shown = [p_value(test.p_holm) for test in tests if test.p_holm is not None]
    if len(shown) > 1 and len({*shown}) == 1:
        return f"{shown[0]} for both"
    return " and ".join(shown).replace("and p = ", "and " if shown[0].startswith("p =") else "and p = ")


def p_value(value: float) -> str:
    """Format a p-value for a sentence."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.{3 if value < 0.1 else 2}f}"


def outcome(tests: Sequence[Difference], corrected: bool = True) -> str:
    """Return whether the first setting is better or worse, or not told apart, in each metric, with means and p-values.

    Parameters
    ----------
    tests
        Tests of one pair of settings, one or more.
    corrected
        Whether the p-values corrected by Holm's method count, or the plain ones.
    """
    outcomes: dict[str, list[str]] = {}
    for test in tests:
        info = METRICS[test.metric]
        side = "level" if test.better is None else "better" if test.better is test.first else "worse"
        p = test.p_holm if corrected else test.p
        words = side if p is not None and p < 1 - CONFIDENCE else "not told apart"
        words = f"{side} in the mean, without a test," if p is None else words
        shown = " and ".join(map(info.format, test.means)) + ("" if p is None else f", {p_value(p)}")
        outcomes.setdefault(words, []).append(f"{info.label} ({shown})")
    return "; ".join(f"{words} by {listed(parts)}" for words, parts in outcomes.items())


def listed(words: Sequence[str]) -> str:
    """Join words as in ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
