"""Cards about single edges: those on which a language model and the cells agree, and those on which they do not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.edge_evidence import EdgeEvidence
from llm4grn.evaluation.graphs.reference_table import reference_loader
from llm4grn.evaluation.graphs.runs import GraphRun, file_name, read_graph_runs
from llm4grn.evaluation.graphs.why import Edge, KnockOuts, evidence
from llm4grn.report.blocks import Card, Cards

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("llm4grn")

SHOWN = 20
#: Classes of inferers that read expression, the preferred one first.
_FROM_CELLS = ("GRNBoost2", "GENIE3", "RegDiffusion", "PIDC", "Correlation")


def edge_cards(
    folders: Sequence[Path],
    reference: str | Path | None = None,
    *,
    data: str | Path = "data",
    store: str | Path | None = None,
    knock_outs: KnockOuts | None = None,
) -> list[Cards]:
    """Build two sets of cards per data set that has a network of a language model and one from cells.

    Both networks are of one KB and one seed: those of the first curated KB and the lowest seed that have both.

    Parameters
    ----------
    folders
        Folders of ``train.py`` or ``infer_grn.py``.
    reference, data, store, knock_outs
        See :func:`~llm4grn.evaluation.graphs.why.evidence`.
    """
    blocks: list[Cards] = []
    for said, seen in pairs(read_graph_runs(folders)):
        ranked = paired_ranks(said, seen)
        usable, effects = _usable(reference, said, data), knock_outs and partial(_where_possible, knock_outs)
        names = f"{said.setting[2]} and {seen.setting[2]}"
        where = f"{said.dataset}, KB {said.kb}, seed {said.seed}"
        for name, title, edges, note in (
            (
                "agreed",
                f"Where {names} agree",
                agreed(ranked, SHOWN),
                f"The edges that rank highest in both networks, by the worse of their two ranks ({where}).",
            ),
            (
                "disputed",
                f"Where {names} disagree",
                disputed(ranked, SHOWN),
                f"Half of them: the model's first choices that rank lowest from the cells; the others: the edges of "
                f"largest importance from the cells that the model does not name ({where}).",
            ),
        ):
            found = evidence([said, seen], edges, reference=usable, data=data, store=store, knock_outs=effects)
            cards = [card(each) for each in found]
            if cards:
                blocks.append(Cards(f"edges_{name}_{file_name(said.dataset)}", title, cards, [note]))
    return blocks


def _usable(reference: str | Path | None, run: GraphRun, data: str | Path) -> str | Path | None:
    """Return the reference, or None if there are no edges in it for this run: the table of scores says why."""
    try:
        return reference if reference is None or reference_loader(reference, data)(run) is not None else None
    except UserError:
        return None


def _where_possible(knock_outs: KnockOuts, folder: Path, edges: Sequence[Edge]) -> Mapping[Edge, float]:
    """Return the effects of knock-outs, or none, with a warning, if the generator of the run cannot be used."""
    try:
        return knock_outs(folder, edges)
    except UserError as error:
        logger.warning("%s; its cards are without knock-outs", error)
        return {}


def card(edge: EdgeEvidence) -> Card:
    """Return the evidence for an edge as a card."""
    said = edge.said or ("", "")
    return Card(edge.name, edge.facts(), said[1], said[0] and f"{said[0]} about {edge.target}")


def pairs(runs: Sequence[GraphRun]) -> list[tuple[GraphRun, GraphRun]]:
    """Return, for each data set, the network of a language model and one from the same cells, TFs and seed."""
    found: dict[str, tuple[GraphRun, GraphRun]] = {}
    for run in runs:  # sorted by data set, curated KBs first
        others = [
            (_FROM_CELLS.index(kind), number, other)
            for number, other in enumerate(runs)
            if (other.dataset, other.kb, other.seed) == (run.dataset, run.kb, run.seed)
            and (kind := str(other.config["inferer"]["method"]["_target_"]).rpartition(".")[2]) in _FROM_CELLS
        ]
        if run.language_model is not None and others and run.dataset not in found:
            found[run.dataset] = run, min(others)[2]
    return list(found.values())


def paired_ranks(said: GraphRun, seen: GraphRun) -> pd.DataFrame:
    """Return the edges of two networks with their ranks among the TFs of the target; 0 where a network lacks the edge.

    Returns
    -------
    DataFrame
        Columns ``TF``, ``target``, ``said`` and ``seen`` (ranks from 1), and ``importance`` in the second network.
    """
    tables = []
    for run, name in (said, "said"), (seen, "seen"):
        edges = run.grn.edges[["TF", "target", "importance"]]
        edges = edges.assign(**{name: edges.groupby("target", sort=False).cumcount() + 1})
        tables.append(edges if name == "seen" else edges.drop(columns="importance"))
    both = tables[0].merge(tables[1], on=["TF", "target"], how="outer")
    # Where the other network knows nothing of the target, the two cannot differ about it.
    shared = set(tables[0]["target"]) & set(tables[1]["target"])
    both = both[both["target"].isin(shared)]
    ranks = both[["said", "seen"]].fillna(0).astype(int)
    return both.assign(**ranks, importance=both["importance"].fillna(0.0)).reset_index(drop=True)


def agreed(ranked: pd.DataFrame, n: int) -> list[Edge]:
    """Return the ``n`` edges with the best worse rank; ties by the sum of the ranks, importance, and names."""
    both = ranked[(ranked["said"] > 0) & (ranked["seen"] > 0)]
    both = both.assign(worse=both[["said", "seen"]].max(axis=1), total=both["said"] + both["seen"])
    order = {"worse": True, "total": True, "importance": False, "TF": True, "target": True}
    return _edges(both.sort_values(list(order), ascending=list(order.values())).head(n))


def disputed(ranked: pd.DataFrame, n: int) -> list[Edge]:
    """Return the model's best edges that rank lowest from the cells, and as many the other way round."""
    last = ranked["seen"].max() + 1
    ours = ranked[ranked["said"] > 0].assign(place=lambda of: of["seen"].where(of["seen"] > 0, last))
    ours = ours.assign(gap=ours["place"] - ours["said"])
    ours = ours.sort_values(["gap", "said", "TF", "target"], ascending=[False, True, True, True])
    theirs = ranked[(ranked["said"] == 0) & (ranked["seen"] > 0)]
    theirs = theirs.sort_values(["importance", "TF", "target"], ascending=[False, True, True])
    first = _edges(ours.head(n // 2))
    return [*first, *_edges(theirs.head(n - len(first)))]


def _edges(table: pd.DataFrame) -> list[Edge]:
    return [(str(tf), str(target)) for tf, target in zip(table["TF"], table["target"], strict=True)]
