"""Does a network know what it knows? Share of its edges that a reference confirms, by their rank or share of votes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from llm4grn.evaluation.scores.statistics import share_interval
from llm4grn.inference.base import split_genes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from llm4grn.grn import GRN

#: First rank of each group of ranks; the last group is open.
FIRST_RANKS = (1, 2, 3, 6, 11, 21, 51, 101)
NOT_RANKED, NOT_NAMED = "not ranked", "not named"


def calibration(
    grn: GRN,
    reference: pd.DataFrame,
    genes: Sequence[str],
    tf_names: Sequence[str] | None = None,
    *,
    n_answers: int | None = None,
) -> pd.DataFrame:
    """Count the candidate edges that a reference confirms, by rank among the TFs of the target, or by votes.

    Candidates are those of :func:`~llm4grn.evaluation.graphs.reference.score_against`: pairs of a TF that regulates
    something in the reference, and a gene that can be a target. An edge that is not in the reference may still be true,
    so the shares are compared with each other and with that of all candidates, not with 1.

    Parameters
    ----------
    grn
        Ranked edges.
    reference
        Table with the columns ``TF`` and ``target``.
    genes, tf_names
        All genes of the data set, and the TFs that the inferer was given; None if every gene was ranked.
    n_answers
        Number of answers about each target, for the network of a language model: groups the edges by the share of
        answers that name them. None groups them by rank.

    Returns
    -------
    DataFrame
        One row per group, the best first and the pairs without an edge last: ``group``, its name; ``position``, the
        mean rank or the share of votes; ``edges``, ``confirmed`` and their ``share``, with its Wilson interval ``low``
        and ``high`` (95 %); ``at_random``, the share of all candidates. Groups without an edge are left out.
    """
    import numpy as np
    import pandas as pd

    tfs, targets = split_genes(genes, tf_names)
    true = reference.loc[reference["TF"] != reference["target"], ["TF", "target"]].drop_duplicates()
    known = set(true["TF"])
    tfs = [tf for tf in tfs if tf in known]
    n_candidates = len(tfs) * len(targets) - len(set(tfs) & set(targets))
    true = true[true["TF"].isin(tfs) & true["target"].isin(targets)]

    edges = grn.edges[["TF", "target", "importance"]]
    edges = edges.assign(rank=edges.groupby("target", sort=False).cumcount() + 1)
    edges = edges[edges["TF"].isin(tfs) & edges["target"].isin(targets)]
    edges = edges.merge(true.assign(confirmed=True), on=["TF", "target"], how="left")
    confirmed = edges["confirmed"].notna().to_numpy()
    if n_answers is None:
        positions = edges["rank"].to_numpy(dtype=float)
        members = [(name, (positions >= first) & (positions <= last)) for name, first, last in _rank_groups()]
    else:
        positions = vote_shares(edges["importance"], n_answers)
        counts = np.rint(positions * n_answers)
        members = [(f"{n} of {n_answers}", counts == n) for n in range(n_answers, 0, -1)]
    rows = [(name, positions[of].mean(), int(of.sum()), int(confirmed[of].sum())) for name, of in members if of.any()]
    left = n_candidates - sum(row[2] for row in rows), len(true) - sum(row[3] for row in rows)
    if left[0] > 0:
        rows.append((NOT_RANKED if n_answers is None else NOT_NAMED, np.nan if n_answers is None else 0.0, *left))
    table = pd.DataFrame(rows, columns=["group", "position", "edges", "confirmed"])
    table["at_random"] = len(true) / n_candidates if n_candidates else np.nan
    return with_interval(table)


def with_interval(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``share``, ``low`` and ``high`` to the columns ``edges`` and ``confirmed``."""
    ends = [share_interval(int(n), int(n_all)) for n, n_all in zip(table["confirmed"], table["edges"], strict=True)]
    low, high = zip(*ends, strict=True) if ends else ((), ())
    columns = [*table.columns.drop("at_random"), "share", "low", "high", "at_random"]
    return table.assign(share=table["confirmed"] / table["edges"], low=low, high=high)[columns]


def vote_shares(importances: pd.Series, n_answers: int) -> np.ndarray:
    """Return the share of answers that name each edge of a language model's network, from its importance.

    An importance is the share plus a bonus of at most 1 / (n_answers + 1) of it, see
    :func:`~llm4grn.inference.llm.importances`. Edges that were drawn at random, as no answer was usable, have none: 0.

    Examples
    --------
    >>> import pandas as pd
    >>> vote_shares(pd.Series([1.25, 0.666, 1.0]), 2)
    array([1. , 0.5, 0. ])
    """
    import numpy as np

    values = importances.to_numpy(dtype=float)
    votes = np.floor(values * n_answers + 1e-9)
    bonus = values - votes / n_answers
    given = (bonus > 1e-12) & (bonus <= votes / n_answers / (n_answers + 1) + 1e-9)
    return np.where(given, votes / n_answers, 0.0)


def _rank_groups() -> list[tuple[str, int, float]]:
    """Return name, first and last rank of each group."""
    inner = [(first, following - 1) for first, following in pairwise(FIRST_RANKS)]
    named = [(f"{first}" if first == last else f"{first}–{last}", first, last) for first, last in inner]
    return [*named, (f"{FIRST_RANKS[-1]} and more", FIRST_RANKS[-1], float("inf"))]
