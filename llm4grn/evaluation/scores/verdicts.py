"""Verdicts in words on the scores of each data set: the answer, and the evidence for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

from llm4grn.evaluation.scores.answers import DECISIVE, Answer, answers, network
from llm4grn.evaluation.scores.habits import habit, over_shuffled
from llm4grn.evaluation.scores.names import setting_name, varying_labels
from llm4grn.evaluation.scores.phrases import listed, outcome
from llm4grn.evaluation.scores.statistics import CONFIDENCE, critical_t, differences_from, intervals
from llm4grn.evaluation.scores.summary import COLLAPSE_FACTOR, Row
from llm4grn.metrics.registry import METRICS
from llm4grn.report.blocks import Figure

_DISTANCES = tuple(name for name in METRICS if name.endswith("_distance"))
_FEW_SEEDS = 5
_MISSING = {
    "grnboost2": "GRNBoost2 on the same TFs, model and graph size",
    "shuffled": "its own lists dealt out to other targets, to tell knowledge of the targets from a habit of naming TFs",
}
_BASES = {
    "stage1": "Stage 1, the GAN without a graph",
    "control": "The control, real cells in the place of generated ones",
}


@dataclass(frozen=True)
class Verdict:
    """The verdict on one data set.

    Parameters
    ----------
    dataset
        Name of the data set.
    answer
        At most three sentences with the numbers.
    details
        Evidence for the answer and its limits, a sentence or two each.
    figure
        Picture of the answer, if it is drawn.
    """

    dataset: str
    answer: tuple[str, ...]
    details: tuple[str, ...] = ()
    figure: Figure | None = None


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Return one verdict per data set, from MMD and RF AUROC.

    Parameters
    ----------
    rows
        Rows from :func:`~llm4grn.evaluation.scores.summary.summarise`.
    """
    datasets = dict.fromkeys(row.dataset for row in rows)
    return [_verdict(dataset, [row for row in rows if row.dataset == dataset]) for dataset in datasets]


def text_of(verdicts: Sequence[Verdict], details: bool = False) -> str:
    """Return the answers for a terminal: the name of each data set, then a paragraph per sentence.

    Parameters
    ----------
    verdicts
        Verdicts on any number of data sets.
    details
        Whether to add the evidence for the answers.
    """
    lines = []
    for one in verdicts:
        lines += [f"{one.dataset}:", *(fill(sentence, 100) for sentence in one.answer)]
        if details:
            lines += [fill(line, 100, initial_indent="  - ", subsequent_indent="    ") for line in one.details]
    return "\n".join(lines)


def _verdict(dataset: str, rows: Sequence[Row]) -> Verdict:
    runs = [row for row in rows if row.source == "run" and not row.failed]
    answered = answers(rows)
    if len(runs) < 2 or not answered:
        answer = [_no_verdict(rows, runs)]
    else:
        answer = [*_failed_models(rows), *(f"{sentence}." for sentence in answered[0].sentences())][:3]
    return Verdict(dataset, tuple(answer), tuple(_Details(rows, runs, answered).lines()))


def _no_verdict(rows: Sequence[Row], runs: Sequence[Row]) -> str:
    """Return the reason why there is no verdict."""
    if not any(row.source == "run" for row in rows):
        return "No verdict: there is no run among the results."
    if not runs:
        return "No verdict: every run collapsed, so the numbers say nothing about the graphs."
    if not any(name in row.mean for row in runs for name in DECISIVE):
        return f"No verdict: no run was scored by {listed([METRICS[name].label for name in DECISIVE])}."
    if len(runs) == 1:
        name = setting_name(runs[0], varying_labels(rows))
        return f"One setting only, {name}: there is nothing to compare it with."
    what = "random one" if all(row.inferer == "random" for row in runs) else "control"
    return f"No verdict: every network is a {what}; add inferer=llm or inferer=grnboost2."


def _failed_models(rows: Sequence[Row]) -> list[str]:
    """Return a sentence that names the language models, if all their runs collapsed."""
    runs = [row for row in rows if row.source == "run" and row.inferer == "llm"]
    if not runs or not all(row.failed for row in runs):
        return []
    names = listed([*dict.fromkeys(network(row) for row in runs)])
    return [f"Nothing can be said about {names}: every set of generated cells collapsed."]


class _Details:
    """The evidence for the answer on one data set."""

    def __init__(self, rows: Sequence[Row], runs: Sequence[Row], answered: Sequence[Answer]) -> None:
        self.rows = rows
        self.runs = runs
        self.answered = answered
        self.varying = varying_labels(rows)
        self.tests = [test for source in _BASES for test in differences_from(rows, source)]

    def lines(self) -> list[str]:
        """Return the details, each with its topic before a colon."""
        if not self.answered:
            return self._flawed()
        main = self.answered[0]
        return [
            *self._compared(main),
            *habit(main),
            *over_shuffled(self.runs, [answer.subject for answer in self.answered], self.name),
            *self._others(),
            *self._leaders(),
            *(line for source, words in _BASES.items() for line in self._base(main, source, words)),
            *self._caution(main),
            *self._flawed(),
        ]

    # ---- the comparisons

    def _compared(self, main: Answer) -> list[str]:
        if not main.pairs:
            return []
        with_ = [self.name(row) for row in (main.random, main.shuffled, main.rival, main.consensus) if row]
        lines = [f"Compared: {self.name(main.subject)} with {listed(with_)}, of the same TFs, model and graph size."]
        if main.subject.inferer == "llm":
            missing = [f"{what}; add inferer={name}" for name, what in _MISSING.items() if not self._has(main, name)]
            lines += [f"Missing: {'. Also '.join(missing)}."] if missing else []
        chosen = [other for other in self.answered[1:] if other.subject.kb == main.subject.kb]
        if chosen or (main.subject.inferer != "llm" and main.rival):
            lines.append(
                f"Choice: {self.name(main.subject)} was chosen by these very scores, as the one with the lowest mean "
                "MMD; the p values do not correct for that choice."
            )
        return lines

    @staticmethod
    def _has(main: Answer, inferer: str) -> bool:
        return (main.rival if inferer == "grnboost2" else main.shuffled) is not None

    def _others(self) -> list[str]:
        """Return the same comparison for each other network, with Holm's correction over its own comparisons."""
        return [f"{self.name(other.subject)}: {'; '.join(other.sentences())}." for other in self.answered[1:]]

    def _leaders(self) -> list[str]:
        """Return the networks with the lowest means, regardless of the tests."""
        if len(self.runs) < 2:
            return []
        lines = []
        for lead, names in {
            f"Lowest means of the {len(self.runs)} settings": DECISIVE,
            "Distances of mean cells, which hardly separate networks and do not count": _DISTANCES,
        }.items():
            best: dict[str, list[str]] = {}
            for name in names:
                leaders = [self.name(row) for row in self.runs if name in row.best]
                if 0 < len(leaders) < len(self.runs):
                    best.setdefault(listed(leaders), []).append(METRICS[name].label)
            parts = [f"{who} by {listed(labels)}" for who, labels in best.items()]
            lines += [f"{lead}: {', '.join(parts)}."] if parts else []
        return lines

    def _base(self, main: Answer, source: str, words: str) -> list[str]:
        """Compare the network of the answer with a baseline."""
        row = main.subject
        base = next((one for one in self.rows if one.source == source and one.model in ("", row.model)), None)
        own = [test for test in self.tests if test.first is row and test.second is base and test.metric in DECISIVE]
        if base is None or not own:
            return []
        way = self._way(main, base) if source == "control" else ""
        text = outcome(own, corrected=source != "control")
        return [f"{words}: compared with it, {self.name(row)} is {text}.{way}"]

    def _way(self, main: Answer, control: Row) -> str:
        """Return how far the network is on the way from the random graph to the control."""
        rows = [main.subject, control, *([main.random] if main.random else [])]
        known = {one.metric: one.share for one in intervals(rows) if one.row is main.subject and one.share is not None}
        parts = [f"{100 * known[name]:.0f} % by {METRICS[name].label}" for name in DECISIVE if name in known]
        return f" It goes {listed(parts)} of the way from the random network to the control." if parts else ""

    # ---- the limits of the evidence

    def _caution(self, main: Answer) -> list[str]:
        lines = []
        few = [self.name(row) for row in self.runs if len(row.seeds) < 2]
        if few:
            who = "all settings" if len(few) == len(self.runs) else listed(few)
            lines.append(f"One seed only: {who}; run more, as one seed has no spread between trainings.")
        tested = [test for tests in main.tests.values() for test in tests if test.p is not None]
        if not tested:
            return lines
        seeds = sorted({len(test.seeds) for test in tested})
        n_seeds = " to ".join(str(number) for number in dict.fromkeys((seeds[0], seeds[-1])))
        n_pairs = max(sum(test.metric == name for test in tested) for name in DECISIVE)
        comparisons = f"{n_pairs} comparisons that the answer makes" if n_pairs > 1 else "one comparison of the answer"
        text = (
            f"Tests: paired t-tests over {n_seeds} seeds, two-sided, at {1 - CONFIDENCE:.0%}. Means are over the seeds "
            "that both settings have. The p values are corrected by Holm's method, per metric over the "
            f"{comparisons}; those for stage 1 over the settings compared with it; those for the control are not "
            "corrected, as the more settings there are, the more each would look as good as real cells."
        )
        if seeds[0] < _FEW_SEEDS:
            text += (
                f" Over {seeds[0]} seeds only differences above {critical_t(seeds[0]):.1f} standard errors show: "
                "networks that cannot be told apart may still differ."
            )
        return [*lines, text]

    def _flawed(self) -> list[str]:
        lines = []
        for row in self.rows:
            if row.collapsed:
                seeds = ", ".join(map(str, sorted({seed for seed, _ in row.collapsed_sets})))
                total = row.collapsed if row.failed else row.collapsed + row.n
                fate = "it takes no part" if row.failed else "these are left out"
                lines.append(
                    f"Collapsed: {row.collapsed} of {total} sets of cells of {self.name(row)} (seed {seeds}; Euclidean "
                    f"distance over {COLLAPSE_FACTOR:g} times the control's); {fate}."
                )
            if row.ambiguous:
                lines.append(f"Unlike runs: {self.name(row)} has different values for the same seed and sample.")
        return lines

    def name(self, row: Row) -> str:
        """Return the name of the row's setting, with the labels that vary in this data set."""
        return setting_name(row, self.varying)
