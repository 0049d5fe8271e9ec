"""Why this edge? Collect from finished runs what they tell about edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.calibration import vote_shares
from llm4grn.evaluation.graphs.edge_correlations import edge_correlations
from llm4grn.evaluation.graphs.edge_evidence import EdgeEvidence, EdgeRank
from llm4grn.evaluation.graphs.real_cells import data_file, split_of, training_cells
from llm4grn.evaluation.graphs.reference_table import reference_loader, reference_name
from llm4grn.evaluation.graphs.runs import GraphRun
from llm4grn.evaluation.graphs.signs import reference_signs
from llm4grn.evaluation.graphs.statements import statements
from llm4grn.grn.network import RANK
from llm4grn.grn.signs import SIGN

if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from llm4grn.evaluation.graphs.held_out import HeldOut

Edge = tuple[str, str]
# R² lost without an edge, raw and within cell types, and the network that was scored.
_Gain = tuple[float | None, float | None, str]
_NO_GAIN: _Gain = (None, None, "")
#: Function of a run's folder and edges, which returns the log2 fold change of each target when its TF is knocked out.
KnockOuts = Callable[[Path, Sequence[Edge]], Mapping[Edge, float]]


def evidence(
    runs: Sequence[GraphRun],
    edges: Sequence[Edge],
    *,
    reference: str | Path | None = None,
    data: str | Path = "data",
    store: str | Path | None = None,
    answers: str | Path | None = None,
    knock_outs: KnockOuts | None = None,
) -> list[EdgeEvidence]:
    """Collect the evidence for edges from finished runs on the same cells.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`, one or more. With ``distinct=False``, the
        generator of a second run on the same graph is found; its ranks are shown once. Ranks come from all runs,
        words from the first with a language model, correlations from the first whose training cells are in the store.
    edges
        TF and target of each edge.
    reference
        ``truth``, ``collectri`` or the path of a table; None to look nothing up.
    data, store
        Folders of downloaded data and of finished stages.
    answers
        File of a language model's answers; None for that of each run.
    knock_outs
        See :data:`KnockOuts`; called for runs with a generator that have some of the edges. None for no knock-outs.

    Raises
    ------
    UserError
        If a gene is in none of the runs, or the reference cannot be read.
    """
    _check_genes(runs, edges)
    names = _names(runs)
    ranks = [_ranks(run, name, edges) for run, name in zip(runs, names, strict=True)]
    said = _said(runs, edges, answers)
    place = None if store is None else Path(store)
    cells = next((found for run in runs if (found := training_cells(run.folder, place)) is not None), None)
    correlations = _correlations(cells, edges)
    gains = _gains(runs, names, edges, place)
    curated = _curated(runs[0], reference, data)
    changes: dict[Edge, tuple[float, str]] = {}
    for run, name in zip(runs, names, strict=True) if knock_outs is not None else ():
        imposed = [
            edge for edge in edges if edge not in changes and edge[0] in run.causal_graph.regulators.get(edge[1], ())
        ]
        if imposed and knock_outs is not None and (run.folder / "generator.pt").is_file():
            changes |= {edge: (change, name) for edge, change in knock_outs(run.folder, imposed).items()}
    return [
        EdgeEvidence(
            *edge,
            ranks=tuple(dict.fromkeys(rank for of_run in ranks for rank in of_run[edge])),
            said=said.get(edge),
            correlation=correlations[edge][0],
            correlation_within=correlations[edge][1],
            r2_gain=gains.get(edge, _NO_GAIN)[0],
            r2_gain_within=gains.get(edge, _NO_GAIN)[1],
            r2_gain_of=gains.get(edge, _NO_GAIN)[2],
            reference=None if reference is None else reference_name(reference),
            in_reference=None if curated is None else edge in curated,
            reference_sign=0 if curated is None else curated.get(edge, 0),
            knock_out=changes[edge][0] if edge in changes else None,
            knock_out_of=changes[edge][1] if edge in changes else "",
        )
        for edge in edges
    ]


def _check_genes(runs: Sequence[GraphRun], edges: Sequence[Edge]) -> None:
    genes = {gene for run in runs for gene in run.causal_graph.genes}
    for gene in (gene for edge in edges for gene in edge):
        if gene not in genes:
            raise UserError(f"{gene}: not among the {len(genes)} genes of {runs[0].folder}; see its graph.json")


def _names(runs: Sequence[GraphRun]) -> list[str]:
    """Name each run by KB and inferer, by the data set and the seed too where they vary."""
    datasets = len({run.dataset for run in runs}) > 1
    seeds = len({(run.seed, run.inference_seed) for run in runs}) > 1
    return [
        " · ".join([*run.setting[0 if datasets else 1 :], *([f"seed {run.inference_seed}"] if seeds else [])])
        for run in runs
    ]


def _ranks(run: GraphRun, name: str, edges: Sequence[Edge]) -> dict[Edge, list[EdgeRank]]:
    """Return the place of each edge in a run's network and, for a consensus, in those of its members."""
    table = run.grn.edges
    table = table[table["target"].isin({target for _, target in edges})]
    table = table.assign(rank=table.groupby("target", sort=False).cumcount() + 1)
    sizes = table["target"].value_counts().to_dict()
    members = [column for column in table.columns if str(column).startswith(RANK)]
    of_member = {column: table.loc[table[column].notna(), "target"].value_counts().to_dict() for column in members}
    n_answers = None if run.language_model is None else int(run.language_model.get("n_samples", 1))
    if n_answers is not None:
        table = table.assign(votes=vote_shares(table["importance"], n_answers))
    rows = {(row["TF"], row["target"]): row for row in table.to_dict("records")}
    found: dict[Edge, list[EdgeRank]] = {}
    for tf, target in edges:
        row = rows.get((tf, target))
        of = int(sizes.get(target, 0))
        if row is None:
            found[tf, target] = [EdgeRank(name, None, of, n_answers=n_answers)]
        else:
            imposed = tf in run.causal_graph.regulators.get(target, ())
            facts: dict[str, Any] = {"votes": row.get("votes"), "n_answers": n_answers, "sign": int(row.get(SIGN, 0))}
            found[tf, target] = [EdgeRank(name, int(row["rank"]), of, float(row["importance"]), imposed, **facts)]
        for column in members:
            place = None if row is None or row[column] != row[column] else int(row[column])
            member = f"{name}: {str(column).removeprefix(RANK)}"
            found[tf, target].append(EdgeRank(member, place, int(of_member[column].get(target, 0))))
    return found


def _said(runs: Sequence[GraphRun], edges: Sequence[Edge], answers: str | Path | None) -> dict[Edge, tuple[str, str]]:
    """Return the model's words about each edge, from the first run that has some, with the name of the model."""
    found: dict[Edge, tuple[str, str]] = {}
    for run in runs:
        missing = [edge for edge in edges if edge not in found]
        name = str((run.config.get("llm") or {}).get("name") or "the model")
        found |= {edge: (name, text) for edge, text in statements(run, missing, answers).items()} if missing else {}
    return found


def _correlations(
    cells: anndata.AnnData | None, edges: Sequence[Edge]
) -> dict[Edge, tuple[float | None, float | None]]:
    import pandas as pd

    known = [] if cells is None else [edge for edge in edges if set(edge) <= set(cells.var_names)]
    values: dict[Edge, tuple[float | None, float | None]] = dict.fromkeys(edges, (None, None))
    if cells is not None and known:
        table = edge_correlations(cells, pd.DataFrame(known, columns=["TF", "target"]))
        for edge, raw, within in zip(known, table["raw"], table["within"], strict=True):
            values[edge] = _number(raw), _number(within)
    return values


def _gains(
    runs: Sequence[GraphRun], names: Sequence[str], edges: Sequence[Edge], store: Path | None
) -> dict[Edge, _Gain]:
    """Return the R² that is lost without each edge, raw and within cell types, in the first graph that has it."""
    from llm4grn.evaluation.graphs.held_out import SPACES
    from llm4grn.evaluation.graphs.predictive import dropped_edge_gains

    found: dict[Edge, _Gain] = {}
    for run, name in zip(runs, names, strict=True):
        regulators = run.causal_graph.regulators
        own = [edge for edge in edges if edge not in found and edge[0] in regulators.get(edge[1], ())]
        path = data_file(run.folder, store)
        if own and path is not None:
            table = dropped_edge_gains(_held_out(path), run.causal_graph, own)
            for edge, raw, within in zip(own, *(table[space] for space in SPACES), strict=True):
                found[edge] = _number(raw), _number(within), name
    return found


@lru_cache(maxsize=1)  # all runs of a call are on the same cells
def _held_out(path: Path) -> HeldOut:
    from llm4grn.evaluation.graphs.held_out import HeldOut

    return HeldOut.of(split_of(path, "train"), split_of(path, "test"))


def _number(value: float) -> float | None:
    return None if isnan(value) else float(value)


def _curated(run: GraphRun, reference: str | Path | None, data: str | Path) -> dict[Edge, int] | None:
    """Return the reference's edges with their signs; None without a reference."""
    if reference is None:
        return None
    table: pd.DataFrame = reference_loader(reference, data)(run)
    signs = reference_signs(table) if SIGN in table else {}
    return {edge: signs.get(edge, 0) for edge in table[["TF", "target"]].itertuples(index=False, name=None)}
