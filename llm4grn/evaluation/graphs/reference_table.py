"""The table of all ranked networks scored against one reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from llm4grn.data.nonlinear import NonLinear
from llm4grn.data.simulated import LinearUniform, SimulatedSource
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.reference import (
    PERMUTATIONS,
    ReferenceScores,
    load_reference,
    reference_among,
    score_against,
)
from llm4grn.evaluation.graphs.runs import GraphRun, over_seeds
from llm4grn.evaluation.scores.statistics import holm
from llm4grn.report.blocks import Cell, Table

if TYPE_CHECKING:
    import pandas as pd

_SIMULATED = {kind.__name__: kind for kind in (LinearUniform, NonLinear)}
_P_VALUES = ("AUROC", "AUPRC", "early precision")
_DIGITS = {"AUROC": 3, "AUPRC": 4, "AUPRC ratio": 2, "early precision ratio": 2}
_HEADER = (
    *("Data set", "KB", "Inferer", "Seeds", "True edges", "Candidates"),
    *("AUROC", "AUROC by degrees", "AUPRC", "AUPRC ratio", "AUPRC ratio by degrees"),
    *("Early precision ratio", "Early precision ratio by degrees", *(f"p, {name}" for name in _P_VALUES)),
    "p, AUPRC, Holm",
)


def reference_table(
    runs: Sequence[GraphRun],
    reference: str | Path,
    *,
    data: str | Path = "data",
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    name: str = "graph_reference",
) -> Table:
    """Tabulate means over seeds, with p-values, one row per data set, KB and inferer.

    The p-value of a row is that of its one network, or twice the median of its networks' p-values, which is valid for
    networks that depend on each other, as those of several splits do (Meinshausen, Meier and Buhlmann, JASA
    104:1671, 2009). That of the AUPRC is corrected for the number of rows by Holm's method.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`; networks that differ only in the edges
        imposed count once.
    reference
        ``truth`` (runs on data that are not simulated are left out), ``collectri``, or the path of a table.
    data
        Folder of downloaded data (``paths.data``), for ``collectri``.
    seed, permutations
        Seed of the random references for the p-values, and their number.
    name
        Name of the table.

    Raises
    ------
    UserError
        If the reference cannot be read, or has nothing to score for any run.
    """
    label, edges_of = reference_name(reference), reference_loader(reference, data)
    scores: dict[tuple[str, str, str], dict[tuple, ReferenceScores]] = defaultdict(dict)
    refused = {}
    for run in runs:
        group, key = (run.dataset, run.kb, run.inferer), (run.seed, run.inference_seed)
        if key in scores[group]:
            continue
        try:
            genes, organism = run.causal_graph.genes, run.config["dataset"].get("organism")
            edges, _ = reference_among(edges_of(run), genes, organism, aliases=False, name=label)
            scores[group][key] = score_against(
                run.grn, edges, genes, run.candidates, name=label, permutations=permutations, seed=seed
            )
        except UserError as error:
            refused[run.dataset] = error
    scored = {group: list(of.values()) for group, of in scores.items() if of}
    if not scored:
        raise next(iter(refused.values()), UserError(f"reference={label}: there is no network to score"))
    notes = [
        *_notes(label, permutations, scored),
        *(f"Not scored: {dataset}: {why}" for dataset, why in refused.items()),
    ]
    return Table(name, f"Ranked edges against {label}", _HEADER, _rows(scored), 3, notes)


def reference_name(reference: str | Path) -> str:
    """Return the name of a reference in tables: ``truth``, ``collectri``, or that of its file."""
    return str(reference) if str(reference) in ("truth", "collectri") else Path(reference).name


def reference_loader(reference: str | Path, data: str | Path) -> Callable[[GraphRun], pd.DataFrame]:
    """Return a function that gives the reference edges for a run, and raises UserError if there are none.

    Raises
    ------
    UserError
        If a reference that all runs share cannot be read.
    """
    if reference_name(reference) == "truth":
        return _truth
    shared = load_reference(str(reference), folder=data)
    return lambda run: shared


def _truth(run: GraphRun) -> pd.DataFrame:
    source = simulated_source(run.config)
    if source is None:
        raise UserError(f"reference=truth: {run.dataset} is not simulated, so its true graph is not known")
    return load_reference("truth", source)


def simulated_source(config: Mapping[str, Any]) -> SimulatedSource | None:
    """Return the simulation that a run's configuration describes; None for other data."""
    source = dict(config["dataset"]["source"])
    kind = _SIMULATED.get(source.pop("_target_").rpartition(".")[2])
    return kind and kind(**source)


def _rows(scored: Mapping[tuple[str, str, str], Sequence[ReferenceScores]]) -> list[list[Cell | str]]:
    p = {
        group: {name: merged_p([of.p_values[name] for of in own]) for name in _P_VALUES}
        for group, own in scored.items()
    }
    corrected = holm([of["AUPRC"] for of in p.values()])
    rows: list[list[Cell | str]] = []
    for (group, own), holm_p in zip(scored.items(), corrected, strict=True):
        numbers = [over_seeds([of.edges for of in own], 0), over_seeds([of.candidates for of in own], 0)]
        for metric in _DIGITS:
            digits = _DIGITS[metric]
            numbers.append(over_seeds([of.values[metric] for of in own], digits))
            if metric != "AUPRC":
                by_degrees = fmean(of.by_degrees[metric] for of in own)
                numbers.append(Cell(f"{by_degrees:.{digits}f}", by_degrees))
        p_values = [_p(p[group][name]) for name in _P_VALUES]
        rows.append([*group, Cell(str(len(own)), len(own)), *numbers, *p_values, _p(holm_p)])
    return rows


def merged_p(p_values: Sequence[float]) -> float:
    """Merge p-values into one: twice their median, at most 1; a single value is returned as it is."""
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * median(p_values))


def _p(value: float) -> Cell:
    return Cell(f"{value:.3f}", value)


def _notes(name: str, permutations: int, scored: Mapping[tuple[str, str, str], Sequence[ReferenceScores]]) -> list[str]:
    several = any(len(own) > 1 for own in scored.values())
    first = next(iter(scored.values()))[0]
    return [
        f"{name} has {first.reference_edges} edges. Candidates: pairs of a TF that regulates something in it and a "
        "target, among the genes at hand; pairs that a network does not rank are tied, last. Random: AUROC 0.5, ratios "
        "1.",
        "By degrees: mean over random references in which every gene keeps its number of edges. The p-value is the "
        f"share of {permutations} such references that score as well, so none is below {1 / (permutations + 1):.2g}"
        + ("; over several seeds, twice the median of theirs." if several else "."),
        f"Holm: the p-value of the AUPRC, corrected for the {len(scored)} rows. "
        + "Significant at 0.05 or not is for this column to say; the others are not corrected.",
    ]
