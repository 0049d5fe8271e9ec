"""Tables of held-out predictive scores: of one graph, and of the graphs of many runs with tests between them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from llm4grn.evaluation.graphs.predictive_score import FILE, PredictiveScore, Summary
from llm4grn.evaluation.graphs.real_cells import data_file, split_of
from llm4grn.evaluation.graphs.runs import GraphRun, over_seeds
from llm4grn.evaluation.scores.statistics import holm
from llm4grn.report.blocks import Cell, Table

if TYPE_CHECKING:
    import pandas as pd

    from llm4grn.evaluation.graphs.predictive import PredictiveRuler

logger = logging.getLogger("llm4grn")

NOTES = (
    "Gain: how much better a target's expression in test cells is predicted from its regulators in the graph than from "
    "as many random TFs (R², mean over targets); 0 for a random graph. All TFs: the gain of all TFs together; where "
    "cells are few, fewer regulators can exceed it. Share: the gain over that of all TFs.",
    "Within cell type: with cell type and sequencing depth regressed out. A graph that only names what marks a cell "
    "type gains nothing there.",
    "Better: targets predicted better than from random TFs (false discovery rate 5 %), among those of which all TFs "
    "explain anything in the training cells. The mean gain can be above 0 although no single target passes this test.",
)
_DIGITS = 4
_Setting = tuple[str, str, str]
_Summaries = dict[tuple[str, str], Summary]  # by space and model


@dataclass(frozen=True)
class ScoredGraph:
    """The graph of one run with its score.

    Parameters
    ----------
    setting
        Data set, KB and inferer.
    seed
        Seed of the split.
    score
        Its held-out predictive score.
    """

    setting: _Setting
    seed: int
    score: PredictiveScore


def score_table(score: PredictiveScore) -> Table:
    """Tabulate the score of one graph, one row per space and model."""
    rows: list[list[Cell | str]] = []
    for row in score.summaries():
        rows.append(
            [
                _capital(row.cells),
                row.model,
                _number(row.gain),
                f"{row.low:.{_DIGITS}f} to {row.high:.{_DIGITS}f}",
                _number(row.ceiling),
                _share(row.share),
                Cell(f"{row.n_better} of {row.n_predictable}", float(row.n_better)),
            ]
        )
    header = ["Cells", "Model", "Gain", "95 % interval", "All TFs", "Share", "Better"]
    title = "Held-out predictive score of the graph"
    return Table("predictive_score", title, header, rows, 2, NOTES)


def predictive_tables(runs: Sequence[GraphRun], store: Path | None = None) -> list[Table]:
    """Tabulate the scores of all runs, and test every two graphs of a data set and KB.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`.
    store
        Folder of finished stages. From it, the score of a finished run that has none yet is computed and written into
        the run's folder.

    Returns
    -------
    ``graph_predictive``, and ``graph_predictive_tests`` if there are two graphs to compare; nothing if no run has a
    score.
    """
    scored, without = [], 0
    rulers: dict[Hashable, PredictiveRuler] = {}
    for run in runs:
        score = run_score(run, store, rulers)
        without += score is None
        scored += [ScoredGraph(run.setting, run.seed, score)] if score is not None else []
    if not scored:
        return []
    gap = f"{without} graphs have no score, as their training cells are not in the store."
    notes = [*NOTES, gap] if without else NOTES
    tables = [_gain_table(scored, notes)]
    tests = _test_rows(scored)
    if tests:
        tables.append(_test_table(tests))
    return tables


def run_score(
    run: GraphRun, store: Path | None, rulers: dict[Hashable, PredictiveRuler] | None = None
) -> PredictiveScore | None:
    """Return the score of a run's graph; if it is missing and the store has its cells, compute it and keep it.

    Parameters
    ----------
    run
        The run, in whose folder the score is.
    store
        Folder of finished stages; None if it is not available.
    rulers
        Rulers of earlier calls, which graphs over the same cells and TFs share; a new one is added.
    """
    path = run.folder / FILE
    if path.is_file():
        return PredictiveScore.read(path)
    cells = data_file(run.folder, store)
    if cells is None:
        return None
    from llm4grn.evaluation.graphs.held_out import HeldOut
    from llm4grn.evaluation.graphs.predictive import PredictiveRuler, sizes_of

    logger.info("held-out predictive score of %s", run.folder.name)
    graph, rulers = run.causal_graph, {} if rulers is None else rulers
    key = (cells, run.seed, run.tf_names, graph.targets, sizes_of(graph))
    if key not in rulers:
        held_out = HeldOut.of(split_of(cells, "train"), split_of(cells, "test"), run.seed)
        rulers[key] = PredictiveRuler.of(held_out, graph, run.tf_names, seed=run.seed)
    score = rulers[key].score(graph)
    score.write(path)
    return score


def _gain_table(scored: Sequence[ScoredGraph], notes: Sequence[str]) -> Table:
    groups: dict[_Setting, list[_Summaries]] = defaultdict(list)
    for one in scored:
        groups[one.setting].append({(each.cells, each.model): each for each in one.score.summaries()})
    kinds = list(dict.fromkeys(kind for own in groups.values() for summaries in own for kind in summaries))
    rows: list[list[Cell | str]] = []
    by_kb: dict[tuple[str, str], list[_Summaries]] = defaultdict(list)
    for (dataset, kb, inferer), own in groups.items():
        by_kb[dataset, kb] += own
        rows.append([dataset, kb, inferer, Cell(str(len(own)), len(own)), *_entries(own, kinds)])
    for (dataset, kb), own in by_kb.items():
        ceilings = ([each[kind].ceiling for each in own if kind in each] for kind in kinds)
        rows.append([dataset, kb, "all TFs", "", *(x for of in ceilings for x in (over_seeds(of, _DIGITS), "", ""))])
    rows.sort(key=lambda row: (str(row[0]), str(row[1])))
    titles = [f"{_capital(space)}, {model}" for space, model in kinds]
    header = ["Data set", "KB", "Inferer", "Seeds"]
    header += [text for title in titles for text in (f"Gain: {title}", f"Share: {title}", f"Better: {title}")]
    title = "Held-out predictive score: what do the regulators say about their targets?"
    return Table("graph_predictive", title, header, rows, 3, notes)


def _entries(own: Sequence[_Summaries], kinds: Sequence[tuple[str, str]]) -> list[Cell | str]:
    entries: list[Cell | str] = []
    for kind in kinds:
        summaries = [each[kind] for each in own if kind in each]
        if not summaries:
            entries += ["", "", ""]
            continue
        entries.append(over_seeds([each.gain for each in summaries], _DIGITS))
        entries.append(_share(fmean(each.share for each in summaries)))
        entries.append(over_seeds([each.n_better for each in summaries], 0))
    return entries


@dataclass(frozen=True)
class _Test:
    dataset: str
    kb: str
    first: str
    second: str
    cells: str
    seeds: int
    targets: int
    difference: float
    p: float


def _test_rows(scored: Sequence[ScoredGraph]) -> list[_Test]:
    """Compare every two graphs of a data set and KB by their gains in ridge regression, with targets as units."""
    from scipy.stats import wilcoxon

    tests = []
    by_kb: dict[tuple[str, str], dict[str, dict[int, PredictiveScore]]] = defaultdict(lambda: defaultdict(dict))
    for one in scored:
        by_kb[one.setting[:2]][one.setting[2]].setdefault(one.seed, one.score)
    for (dataset, kb), inferers in by_kb.items():
        for first, second in combinations(inferers, 2):
            if not (seeds := sorted(inferers[first].keys() & inferers[second].keys())):
                continue
            for space in dict.fromkeys(inferers[first][seeds[0]].targets["cells"]):
                a, b = (_mean_gains([inferers[name][seed] for seed in seeds], str(space)) for name in (first, second))
                gaps = (a - b).dropna()
                if len(gaps) < 2:
                    continue
                p = float(wilcoxon(gaps).pvalue) if (gaps != 0).any() else 1.0
                tests.append(
                    _Test(dataset, kb, first, second, str(space), len(seeds), len(gaps), float(gaps.mean()), p)
                )
    return tests


def _mean_gains(scores: Sequence[PredictiveScore], space: str) -> pd.Series:
    import pandas as pd

    return pd.concat([score.gains(space) for score in scores], axis=1, join="inner").mean(axis=1, skipna=False)


def _test_table(tests: Sequence[_Test]) -> Table:
    corrected: dict[int, float] = {}
    for group in dict.fromkeys((test.dataset, test.cells) for test in tests):
        own = [i for i, test in enumerate(tests) if (test.dataset, test.cells) == group]
        corrected |= dict(zip(own, holm([tests[i].p for i in own]), strict=True))
    rows: list[list[Cell | str]] = [
        [
            *(test.dataset, test.kb, test.first, test.second, _capital(test.cells)),
            Cell(str(test.seeds), test.seeds),
            Cell(str(test.targets), test.targets),
            _number(test.difference),
            Cell(_p(test.p), test.p),
            Cell(_p(corrected[i]), corrected[i]),
        ]
        for i, test in enumerate(tests)
    ]
    header = ["Data set", "KB", "First", "Second", "Cells", "Seeds", "Targets", "Difference of gains", "p", "p, Holm"]
    notes = [
        "Ridge regression. Difference: mean over targets of the first graph's gain minus the second's, each the mean "
        "over the seeds that both have. p: Wilcoxon's signed-rank test with targets as units, which neglects that "
        "targets depend on each other; Holm: corrected over the pairs of a data set and space.",
    ]
    title = "Held-out predictive score: two graphs compared"
    return Table("graph_predictive_tests", title, header, rows, 5, notes)


def _number(value: float) -> Cell:
    return Cell(f"{value:.{_DIGITS}f}", value)


def _share(value: float) -> Cell | str:
    return "" if value != value else Cell(f"{100 * value:.0f} %", value)


def _p(value: float) -> str:
    return f"{value:.2g}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
