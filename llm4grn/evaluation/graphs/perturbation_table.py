"""The table of all graphs scored against one perturbation screen, and the scores and edges as files."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.perturbation_effects import Screen, perturbation_effects
from llm4grn.evaluation.graphs.perturbation_pairs import tfs_of
from llm4grn.evaluation.graphs.perturbation_score import METRICS, N_OMISSIONS, PREDICTORS, edge_effects, score_graph
from llm4grn.evaluation.graphs.runs import GraphRun, over_seeds
from llm4grn.report.blocks import Cell, Table

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("llm4grn")

_DIGITS = {"percentile": 1, "percentile_mann_whitney": 1}
_LABELS = ("Percentile", "Percentile, Mann-Whitney", "Wasserstein", "Precision", "Precision at size", "False omissions")
_INTERVALS = ("percentile", "precision")


@dataclass(frozen=True)
class PerturbationTables:
    """Graphs against a screen.

    Parameters
    ----------
    table
        One row per setting and predictor, means over the graphs of a setting.
    scores
        One row per graph and predictor, with all intervals.
    edges
        One row per graph and edge.
    """

    table: Table
    scores: pd.DataFrame
    edges: pd.DataFrame

    def texts(self) -> dict[str, str]:
        """Return the names of the two files, and their tab-separated content."""
        files = {"perturbation_scores.tsv": self.scores, "perturbation_edges.tsv": self.edges}
        return {name: of.to_csv(sep="\t", index=False, lineterminator="\n") for name, of in files.items()}


def perturbation_tables(runs: Sequence[GraphRun], screen: Screen, seed: int = 0) -> PerturbationTables:
    """Score the graphs of runs against a screen; those that it cannot score are named in the notes.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`.
    screen
        The screen.
    seed
        Seed for draws and the bootstrap.

    Raises
    ------
    UserError
        If the screen cannot be read, or can score none of the graphs.
    """
    import pandas as pd

    effects = perturbation_effects(
        screen.load(),
        {tf for run in runs for tf in tfs_of(run.causal_graph)},
        {target for run in runs for target in run.causal_graph.targets},
        column=screen.column,
        control=screen.control,
        min_cells=screen.min_cells,
        seed=seed,
        name=screen.path,
    )
    scores: dict[tuple[str, str, str], list[pd.DataFrame]] = defaultdict(list)
    edges: list[pd.DataFrame] = []
    refused: dict[tuple[str, str, str], UserError] = {}
    for run in runs:
        labels: dict[str, str | int] = {"dataset": run.dataset, "KB": run.kb, "inferer": run.setting[2]}
        labels |= {"seed": run.seed, "inference_seed": run.inference_seed}
        try:
            own = score_graph(effects, run.causal_graph, " · ".join(run.setting), N_OMISSIONS, seed)
        except UserError as error:
            refused[run.setting] = error
            continue
        scores[run.setting].append(_labelled(own.drop(columns="network"), labels))
        edges.append(_labelled(edge_effects(effects, run.causal_graph), labels))
    if not scores:
        raise next(iter(refused.values()), UserError("perturbation: there is no graph to score"))
    for sentence in effects.skipped:
        logger.warning("perturbation.path=%s: %s", screen.path, sentence)
    unscored = [f"Not scored: {error}" for error in refused.values()]
    notes = [*_notes(screen, effects.n_control), *effects.skipped, *unscored]
    header = ("Data set", "KB", "Inferer", "Targets of each TF", "Graphs", "TFs", "Edges", *_columns())
    rows = [row for setting, own in scores.items() for row in _rows(setting, own)]
    title = f"Graphs against the perturbations of {Path(screen.path).name}"
    return PerturbationTables(
        table=Table("perturbation", title, header, rows, 4, notes, _DEFINITIONS),
        scores=pd.concat([table for own in scores.values() for table in own], ignore_index=True),
        edges=pd.concat(edges, ignore_index=True),
    )


def _labelled(table: pd.DataFrame, labels: Mapping[str, str | int]) -> pd.DataFrame:
    """Return the table behind columns of equal entries."""
    return table.assign(**labels)[[*labels, *table.columns]]


def _columns() -> list[str]:
    columns = []
    for name, label in zip(METRICS, _LABELS, strict=True):
        columns += [label, f"{label}, 95 %"] if name in _INTERVALS else [label]
    return columns


def _rows(setting: tuple[str, str, str], scores: Sequence[pd.DataFrame]) -> list[list[Cell | str]]:
    rows: list[list[Cell | str]] = []
    for predictor in PREDICTORS:
        own = [table.loc[table["predictor"] == predictor].iloc[0] for table in scores]
        numbers = [
            Cell(str(len(own)), len(own)),
            *(over_seeds([each[name] for each in own], 0) for name in ("TFs", "edges")),
        ]
        for name in METRICS:
            digits = _DIGITS.get(name, 3)
            values = [each[name] for each in own if each[name] == each[name]]
            numbers.append(over_seeds(values, digits) if values else Cell("–"))
            if name in _INTERVALS:
                numbers.append(_interval(own, name, digits))
        rows.append([*setting, predictor, *numbers])
    return rows


def _interval(scores: Sequence[pd.Series], name: str, digits: int) -> Cell:
    """Return the interval of one graph, or the mean ends of those of several."""
    ends = [(each[f"{name}_low"], each[f"{name}_high"]) for each in scores]
    known = [(low, high) for low, high in ends if low == low]
    if not known:
        return Cell("–")
    return Cell(" to ".join(f"{fmean(of):.{digits}f}" for of in zip(*known, strict=True)))


def _notes(screen: Screen, n_control: int) -> list[str]:
    return [
        f"Cells in which {screen.column} names the perturbed TF, compared with {n_control} cells of {screen.control}; "
        "log1p of counts normalised to 10,000. Scored are edges of a perturbed TF and a measured target.",
        "Percentile: how strongly the perturbation of the TF changes the edge's target, among all targets of the "
        "graph; chance is 50. A graph is informative as far as it is above the two rows below it.",
        "Mean ± standard deviation over the graphs of a setting. 95 %: bootstrap over the perturbed TFs.",
    ]


_DEFINITIONS = (
    "Percentile by Wasserstein distance, or by the p-value of the Mann-Whitney test. Wasserstein: mean distance over "
    "the edges. Precision: share of the edges with p < 0.05. Precision at size: share of the n edges among the n pairs "
    f"of smallest p-value. False omissions: share with p < 0.05 among {N_OMISSIONS} sampled pairs without a directed "
    "path in the graph (lower is better).",
    "Mean effect: as many targets per TF as in the graph, those that the perturbations of the other TFs change most. "
    "No change: as many targets at random (expected values).",
)
