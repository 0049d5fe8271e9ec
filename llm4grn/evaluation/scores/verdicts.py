"""Which setting wins where, in words that claim no more than the tests allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm4grn.evaluation.scores.statistics import (
    CONFIDENCE,
    Difference,
    critical_t,
    differences,
    differences_from,
    intervals,
    useless_run,
)
from llm4grn.evaluation.scores.summary import COLLAPSE_FACTOR, Row
from llm4grn.evaluation.scores.tables import setting_name, varying_labels
from llm4grn.metrics.registry import METRICS

# What separates graphs; the distances of mean cells hardly do (protocol section 7).
DECISIVE = ("rf_auroc", "mmd")
_HARDLY = tuple(name for name in METRICS if name.endswith("_distance"))
_FEW_SEEDS = 5
_BASES = {
    "stage1": "stage 1, the GAN without a graph",
    "control": "the control, real cells in the place of generated ones",
}


@dataclass(frozen=True)
class Verdict:
    """What the numbers of one data set say.

    Parameters
    ----------
    dataset
        Whose.
    headline
        One sentence.
    details
        What it rests on, and what it does not say: a sentence or two each.
    """

    dataset: str
    headline: str
    details: tuple[str, ...] = ()


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict per data set, from RF AUROC and MMD.

    A lead counts as more than chance if the paired test over seeds says so after correction for the number of pairs; a
    setting is held against stage 1 and the control by the same test, corrected for the number of settings.

    Parameters
    ----------
    rows
        From :func:`~llm4grn.evaluation.scores.summary.summarise`.
    """
    datasets = dict.fromkeys(row.dataset for row in rows)
    return [_Judge(dataset, [row for row in rows if row.dataset == dataset]).verdict() for dataset in datasets]


class _Judge:
    """The rows of one data set and the tests between them."""

    def __init__(self, dataset: str, rows: Sequence[Row]) -> None:
        self.dataset = dataset
        self.rows = rows
        self.runs = [row for row in rows if row.source == "run" and not row.failed]
        self.metrics = [name for name in DECISIVE if self._leaders(name)]
        self.tests = differences(rows) + [test for source in _BASES for test in differences_from(rows, source)]

    def verdict(self) -> Verdict:
        if not self.runs or not self.metrics:
            return Verdict(self.dataset, self._nothing(), tuple(self._flawed()))
        leaders = {name: self._leaders(name) for name in self.metrics}
        shown = [row for row in self.runs if any(row in rows for rows in leaders.values())]
        details = [
            *(line for row in shown for line in self._against_others(row, leaders, len(shown) > 1)),
            *self._hardly(),
            *self._caution(),
            *self._flawed(),
        ]
        return Verdict(self.dataset, self._headline(leaders), tuple(details))

    # ---- the sentence at the top

    def _nothing(self) -> str:
        if self.runs:
            return f"No verdict: no two settings were scored by {_listed([METRICS[name].label for name in DECISIVE])}."
        if any(row.source == "run" for row in self.rows):
            return "No verdict: every run collapsed, so the numbers say nothing about the graphs."
        return "No verdict: there is no run among the results."

    def _headline(self, leaders: dict[str, list[Row]]) -> str:
        if len(self.runs) == 1:
            return f"One setting only, {self.name(self.runs[0])}: there is nothing to rank it against."
        sets = list(leaders.values())
        if all(rows == sets[0] for rows in sets):
            come = "come" if len(sets[0]) > 1 else "comes"
            first = f"Of the {len(self.runs)} settings, {self._names(sets[0])} {come} closest to real cells"
            return f"{first} by {self._labels(leaders)}, {self._certainty(leaders)}."
        parts = [f"{METRICS[name].label} puts {self._names(rows)} first" for name, rows in leaders.items()]
        return f"{' and '.join(parts)}, {self._certainty(leaders)}."

    def _certainty(self, leaders: dict[str, list[Row]]) -> str:
        """How many rivals the leaders beat by more than chance, over the metrics."""
        beaten = {name: self._beaten(name, rows) for name, rows in leaders.items()}
        rivals = {name: len(self._rivals(name, rows)) for name, rows in leaders.items()}
        tested = [test for test in self.tests if test.first in self.runs and test.second in self.runs]
        if not any(test.p is not None for test in tested):
            return "but nothing tells the lead from chance: no two settings share two seeds or more"
        if not any(beaten.values()):
            return "but no lead is larger than chance"
        if beaten == rivals:
            return "by more than chance"
        parts = [f"against {_share_of(beaten[name], rivals[name])} by {METRICS[name].label}" for name in leaders]
        return f"by more than chance {' and '.join(parts)}"

    def _beaten(self, name: str, leaders: Sequence[Row]) -> int:
        """Rivals that fall behind every leader by more than chance."""
        rivals = self._rivals(name, leaders)
        return sum(all(self._is_better(leader, rival, name) for leader in leaders) for rival in rivals)

    def _rivals(self, name: str, leaders: Sequence[Row]) -> list[Row]:
        return [row for row in self.runs if name in row.mean and row not in leaders]

    def _leaders(self, name: str) -> list[Row]:
        if len(self.runs) == 1:
            return [row for row in self.runs if name in row.mean]
        return [row for row in self.runs if name in row.best]

    # ---- what it rests on

    def _against_others(self, row: Row, leaders: dict[str, list[Row]], named: bool) -> list[str]:
        names = [name for name in self.metrics if row in leaders[name]]
        who = f"{self.name(row)} against" if named else "Against"
        lines = []
        random = useless_run(row, self.rows)
        if row.inferer == "random":
            lines.append(f"{self.name(row)} is a random graph: no graph that a method drew did better here.")
        elif random is None:
            lines.append("There is no random graph among the runs to hold it against: add inferer=random.")
        else:
            lines.append(f"{who} a random graph ({self.name(random)}): {self._compared(row, random, names)}.")
        for source, words in _BASES.items():
            base = next((b for b in self.rows if b.source == source and b.model in ("", row.model)), None)
            if base is not None:
                lines.append(f"{who} {words}: {self._compared(row, base, names)}.{self._way(row, source, names)}")
        return lines

    def _compared(self, row: Row, other: Row, names: Sequence[str]) -> str:
        """Better, worse or not separated, with the numbers; metrics with the same outcome together."""
        outcomes: dict[str, list[str]] = {}
        for name in names:
            if name in row.mean and name in other.mean:
                outcome, p = self._outcome(row, other, name)
                values = f"{METRICS[name].format(row.mean[name])} and {METRICS[name].format(other.mean[name])}"
                outcomes.setdefault(outcome, []).append(f"{METRICS[name].label} ({values}{p})")
        return "; ".join(f"{outcome} by {_listed(parts)}" for outcome, parts in outcomes.items())

    def _outcome(self, row: Row, other: Row, name: str) -> tuple[str, str]:
        test = self._test(row, other, name)
        if test is None or test.p_holm is None:
            better = "better" if self._is_nearer(row, other, name) else "worse"
            return f"{better} in the mean, untested,", ""
        # The more settings, the more a correction would make each of them look as good as real cells.
        value = test.p if other.source == "control" else test.p_holm
        p = "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
        p = ", " + p.replace(" ", "\N{NO-BREAK SPACE}")
        if value >= 1 - CONFIDENCE:
            return "not separated", p
        return "better" if self._is_nearer(row, other, name) else "worse", p

    def _way(self, row: Row, source: str, names: Sequence[str]) -> str:
        """How far from the random graph to the control."""
        if source != "control" or row.inferer == "random":
            return ""
        bases = [other for other in self.rows if other.source == "control" or other is useless_run(row, self.rows)]
        known = {record.metric: record.share for record in intervals([row, *bases]) if record.row is row}
        parts = [f"{100 * known[name]:.0f} % by {METRICS[name].label}" for name in names if known.get(name) is not None]
        return f" Of the way from the random graph to the control it goes {_listed(parts)}." if parts else ""

    def _hardly(self) -> list[str]:
        """Who leads where it hardly matters."""
        leaders = {
            name: self._names(found) for name in _HARDLY if len(self.runs) > 1 and (found := self._leaders(name))
        }
        if not leaders:
            return []
        same = len(set(leaders.values())) == 1
        parts = [f"{who}{'' if same else f' ({METRICS[name].label})'}" for name, who in leaders.items()]
        return [
            "Distances between mean cells hardly separate graphs and do not count here; by them the nearest is "
            f"{parts[0] if same else _listed(parts)}."
        ]

    def _caution(self) -> list[str]:
        few = [self.name(row) for row in self.runs if len(row.seeds) < 2]
        if few:
            return [f"One seed has no spread between trainings: run more of {_listed(few)} before any conclusion."]
        seeds = [len(row.seeds) for row in self.runs]
        told = f"{min(seeds)} seeds" if len(set(seeds)) == 1 else f"{min(seeds)} to {max(seeds)} seeds"
        test = (
            f"Tests: paired t over {told}, at 5 %, corrected by Holm's method for the pairs of settings, and for the "
            "settings against stage 1; not corrected against the control."
        )
        if min(seeds) >= _FEW_SEEDS:
            return [test]
        return [
            f"{test} So few show only differences above {critical_t(min(seeds)):.1f} standard errors: what is not "
            "separated may still differ."
        ]

    def _flawed(self) -> list[str]:
        lines = []
        for row in self.rows:
            if row.collapsed:
                seeds = ", ".join(map(str, sorted({seed for seed, _ in row.collapsed_sets})))
                total = row.collapsed if row.failed else row.collapsed + row.n
                fate = "it takes no part in the ranking" if row.failed else "left out"
                lines.append(
                    f"{self.name(row)}: {row.collapsed} of {total} sets of cells collapsed (seed {seeds}; Euclidean "
                    f"distance over {COLLAPSE_FACTOR:g} times the control's): {fate}."
                )
            if row.ambiguous:
                lines.append(f"{self.name(row)} mixes unlike runs: one seed and sample came with different values.")
        return lines

    # ---- names and tests

    def name(self, row: Row) -> str:
        return setting_name(row, varying_labels(self.rows))

    def _names(self, rows: Sequence[Row]) -> str:
        return _listed([self.name(row) for row in rows])

    def _labels(self, leaders: dict[str, list[Row]]) -> str:
        return _listed([METRICS[name].label for name in leaders])

    def _test(self, row: Row, other: Row, name: str) -> Difference | None:
        pair = {id(row), id(other)}
        found = (test for test in self.tests if test.metric == name and {id(test.first), id(test.second)} == pair)
        return next(found, None)

    def _is_nearer(self, row: Row, other: Row, name: str) -> bool:
        return METRICS[name].shortfall(row.mean[name]) < METRICS[name].shortfall(other.mean[name])

    def _is_better(self, row: Row, other: Row, name: str) -> bool:
        test = self._test(row, other, name)
        return test is not None and test.is_beyond_chance and test.better is row


def _share_of(number: int, others: int) -> str:
    if number == 0:
        return "no other"
    if number < others:
        return f"{number} of {others} others"
    return "the other" if others == 1 else f"all {others} others"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
