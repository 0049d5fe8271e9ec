"""Answer from the scores of one data set, in at most three sentences, whether a language model can draw the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm4grn.evaluation.scores.controls import SHUFFLED, control_kind, random_run, shuffled_run
from llm4grn.evaluation.scores.names import inferer_name
from llm4grn.evaluation.scores.phrases import each, p_values, seeds, share, values
from llm4grn.evaluation.scores.statistics import Difference, differences_of
from llm4grn.evaluation.scores.summary import ASKED, CURATED, Row
from llm4grn.metrics.registry import METRICS

#: The metrics that separate graphs; distances of mean cells hardly do (protocol section 7). Lower is better in both.
DECISIVE = ("mmd", "rf_auroc")
_METHODS = {"grnboost2": "GRNBoost2", "genie3": "GENIE3", "pidc": "PIDC", "regdiffusion": "RegDiffusion"}
_NETWORKS = {
    "llm": "the language model's network",
    "consensus": "the consensus network",
    "random": "a random network",
    "correlation": "the correlation network",
    "truth": "the true network",
    "file": "the network from a file",
}
_TFS = {"random": "With TFs drawn at random", "truth": "With the true TFs", "none": "With TFs read off the ranking"}
#: Number of seeds on each of which a network must lead for the answer to say so without a significant test.
_MANY_SEEDS = 3
#: Verb, preposition before the other network, and the verb where both were named just before.
_OUTCOMES = {
    "closer": ("is closer to real cells", "than", "is closer"),
    "farther": ("is farther from real cells", "than", "is farther"),
    "leans closer": ("came closer to real cells, though not beyond chance,", "than", "came closer, not beyond chance,"),
    "leans farther": (
        "came less close to real cells, though not beyond chance,",
        "than",
        "came less close, not beyond chance,",
    ),
    "open": ("cannot be told", "from", "cannot be told from it"),
    "seems closer": ("came closer to real cells", "than", "came closer"),
    "seems farther": ("came less close to real cells", "than", "came less close"),
    "level": ("is level", "with", "is level"),
}


@dataclass(frozen=True)
class Answer:
    """One network and those it is compared with: settings of the same data set, KB, model and graph.

    Parameters
    ----------
    subject
        The network that the question is about.
    random
        The random graph.
    rival
        GRNBoost2 or, without a language model, the second best method.
    consensus
        The consensus of the language model and GRNBoost2.
    shuffled
        The subject's own lists of regulators, dealt out to other targets.
    """

    subject: Row
    random: Row | None = None
    rival: Row | None = None
    consensus: Row | None = None
    shuffled: Row | None = None

    @property
    def pairs(self) -> list[tuple[Row, Row]]:
        """Return the pairs that are compared, at most five."""
        pairs = [(self.subject, other) for other in (self.random, self.shuffled, self.rival)]
        consensus = [(self.consensus, self.subject), (self.consensus, self.rival)] if self.consensus else []
        return [(first, second) for first, second in [*pairs, *consensus] if first and second]

    @cached_property
    def tests(self) -> dict[tuple[int, int], list[Difference]]:
        """Return the tests of each pair in the decisive metrics, with Holm's correction over the pairs of this answer.

        A key consists of the ids of the two rows, which are not hashable.
        """
        tests = differences_of(self.pairs)
        return {
            (id(first), id(second)): [
                test
                for name in DECISIVE
                for test in tests
                if test.metric == name and test.first is first and test.second is second
            ]
            for first, second in self.pairs
        }

    def sentences(self) -> list[str]:
        """Return one to three sentences, without full stops: on the controls, the rival and the consensus."""
        who, where = network(self.subject), tfs(self.subject)
        controls = [self._clause(self.subject, other) for other in (self.random, self.shuffled) if other]
        missing = "there is no random network of the same model and graph size to compare"
        if not controls:
            sentences = [f"{where}, {missing} {who} with; add inferer=random"]
        else:
            sentences = [f"{where}, {who} {_joined(controls, 'but')}"]
            sentences[0] += "" if self.random else f"; {missing} it with; add inferer=random"
        if self.rival:
            sentences.append(f"{_capital(who)} {self._clause(self.subject, self.rival)}")
        if self.consensus:
            sentences.append(self._about_consensus(self.consensus))
        n_seeds = {len(test.seeds) for tests in self.tests.values() for test in tests}
        if n_seeds == {1}:
            first = sentences[0]
            sentences[0] = f"One seed: no test, so this may be chance: {first[0].lower()}{first[1:]}"
        elif 1 in n_seeds:
            sentences[-1] += "; where only one seed is shared there is no test, so that may be chance"
        return sentences

    def _about_consensus(self, consensus: Row) -> str:
        others = [other for first, other in self.pairs if first is consensus]
        clauses = _joined([self._clause(consensus, other) for other in others], "and")
        who = _capital(network(consensus))
        outcomes = [set(_outcomes(self._of(consensus, other))) for other in others]
        tested = {"closer", "farther", "leans closer", "leans farther", "open"}
        if len(others) == 1 or not any(own & tested for own in outcomes):
            return f"{who} {clauses}"
        beaten = [network(other) for other, own in zip(others, outcomes, strict=True) if own == {"closer"}]
        lead = ("is not shown to beat either", f"beats only {''.join(beaten)}", "beats both")[len(beaten)]
        return f"{who} {lead}: it {clauses}"

    def _of(self, first: Row, second: Row) -> list[Difference]:
        return self.tests[id(first), id(second)]

    def _clause(self, first: Row, second: Row) -> str:
        """Return the comparison of ``first`` with ``second``: verb, other network, seeds and numbers."""
        other, tests = network(second).replace("'s network", "'s"), self._of(first, second)
        if not tests:
            return f"shares no seed with {other} to be compared on"
        outcomes: dict[str, list[str]] = {}
        for test, outcome in zip(tests, _outcomes(tests), strict=True):
            outcomes.setdefault(outcome, []).append(METRICS[test.metric].label)
        verb, preposition, _ = _OUTCOMES[next(iter(outcomes))]
        words = f"{verb} {preposition} {other}"
        if len(outcomes) > 1:
            (_, ones), (two, twos) = outcomes.items()
            return f"{words} by {ones[0]} but {_OUTCOMES[two][2]} by {twos[0]} ({each(tests)})"
        if outcomes.keys() & {"open", "level"}:
            return f"{words} with {seeds(tests[0])} ({each(tests)})"
        if len(tests[0].seeds) == 1 or len({test.leads for test in tests}) > 1 or any(t.p is None for t in tests):
            return f"{words} ({each(tests)})"
        return f"{words} on {share(tests[0])} ({', '.join(map(values, tests))}; {p_values(tests)})"


def answers(rows: Sequence[Row]) -> list[Answer]:
    """Return the answers for one data set, the main one first.

    There is one per network of a language model or, without any, one per KB, model and graph, about its best network by
    mean MMD. They are sorted so that the first has curated TFs and a random network to compare with, if any has, and
    the lowest MMD.

    Parameters
    ----------
    rows
        Rows of one data set; runs that collapsed or have no decisive metric are ignored.
    """
    scored = [row for row in rows if any(name in row.mean for name in DECISIVE)]
    runs = [row for row in scored if row.source == "run" and not row.failed]
    drawn = sorted((row for row in runs if not control_kind(row)), key=_loss)
    result = [_with_peers(row, drawn, runs) for row in drawn if row.inferer == "llm"]
    if not result:
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in drawn:
            groups.setdefault(_group(row), []).append(row)
        result = [
            Answer(best, random_run(best, runs), next(iter(rest), None), shuffled=shuffled_run(best, runs))
            for best, *rest in groups.values()
        ]
    return sorted(result, key=_importance)


def network(row: Row) -> str:
    """Return the name of a network in a sentence."""
    if control_kind(row) == SHUFFLED:
        return "its own lists dealt out to other targets"
    if row.inferer in _NETWORKS and not (row.inferer == "llm" and row.llm):
        return _NETWORKS[row.inferer]
    return f"{_METHODS.get(row.inferer, inferer_name(row))}'s network"


def tfs(row: Row) -> str:
    """Return the phrase that says where the transcription factors of a network come from."""
    if row.setting == CURATED:
        return "With the curated list of TFs"
    return f"With TFs named by {row.kb}" if row.setting == ASKED else _TFS.get(row.kb, f"With the TFs of {row.kb}")


def _with_peers(row: Row, drawn: Iterable[Row], runs: Sequence[Row]) -> Answer:
    peers = [other for other in drawn if _group(other) == _group(row)]
    rival = next((other for other in peers if other.inferer == "grnboost2"), None)
    consensus = (other for other in peers if (other.inferer, other.llm) == ("consensus", row.llm))
    return Answer(row, random_run(row, runs), rival, next(consensus, None), shuffled_run(row, runs))


def _group(row: Row) -> tuple[str, ...]:
    return row.kb, row.model, row.graph


def _importance(answer: Answer) -> tuple:
    row = answer.subject
    return row.setting != CURATED, row.kb, answer.random is None, _loss(row)


def _loss(row: Row) -> tuple[float, ...]:
    return tuple(row.mean.get(name, float("inf")) for name in DECISIVE)


def _outcomes(tests: Sequence[Difference]) -> list[str]:
    """Return the key of ``_OUTCOMES`` for each test of a pair; what leans in one metric only is open."""
    outcomes = [_outcome(test) for test in tests]
    leaning = {outcome for outcome in outcomes if outcome.startswith("leans")}
    return ["open" if outcome in leaning and len({*outcomes}) > 1 else outcome for outcome in outcomes]


def _outcome(test: Difference) -> str:
    """Return the key of ``_OUTCOMES`` for a test; without a p-value it only describes the observed means."""
    side = "closer" if test.better is test.first else "farther"
    if test.p_holm is not None and not test.is_beyond_chance:
        same_on_each = test.better is not None and test.leads == len(test.seeds) >= _MANY_SEEDS
        return f"leans {side}" if same_on_each else "open"
    if test.better is None:
        return "level"
    return side if test.p_holm is not None else f"seems {side}"


def _joined(clauses: Sequence[str], contrast: str) -> str:
    """Join clauses; a verb that they share is said once, and another one comes after ``contrast``."""
    first, *more = clauses
    shared = next((f"{verb} " for verb, *_ in _OUTCOMES.values() if first.startswith(verb)), "")
    parts = [first]
    for clause in more:
        same = shared and clause.startswith(shared)
        parts.append(f"and {clause.removeprefix(shared)}" if same else f"{contrast} {clause}")
    return ", ".join(parts)


def _capital(text: str) -> str:
    """Capitalise the article; the name of a model or method stays as it is."""
    return f"T{text[1:]}" if text.startswith("the ") else text
