"""Do the signs of a network agree with those of correlations and of a reference?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm4grn.evaluation.graphs.edge_correlations import edge_correlations
from llm4grn.evaluation.scores.statistics import share_interval
from llm4grn.grn.signs import SIGN

if TYPE_CHECKING:
    import anndata
    import numpy as np
    import pandas as pd

    from llm4grn.grn import GRN

CORRELATION, WITHIN = "correlation", "correlation within cell types"
#: Standard errors that a correlation must be away from 0 for its sign to count.
CLEAR = 1.96


def sign_agreement(
    grn: GRN, cells: anndata.AnnData | None = None, reference: pd.DataFrame | None = None, *, name: str = "reference"
) -> pd.DataFrame:
    """Compare the signs of a network with those of correlations in cells and of reference edges.

    Parameters
    ----------
    grn
        Ranked edges with the column ``sign``.
    cells
        Training cells, see :func:`~llm4grn.evaluation.graphs.edge_correlations.edge_correlations`; None to compare with
        no correlation. Correlations within :data:`CLEAR` standard errors of 0 (1 / sqrt(n_cells)) have no sign.
    reference
        Edges with ``TF``, ``target`` and ``sign``; None, or without that column, to compare with none.
    name
        Name of the reference.

    Returns
    -------
    DataFrame
        One row for each comparison, with the columns ``with``; ``edges``, the number of edges that have a sign in both;
        ``agree``, the share of them whose signs are equal, with its Wilson interval ``low`` and ``high`` (95 %), and
        ``by_chance``, the share expected of independent signs that are as often positive. No row if there are no signs.
    """
    import numpy as np
    import pandas as pd

    columns = ["with", "edges", "agree", "low", "high", "by_chance"]
    if grn.signs is None:
        return pd.DataFrame(columns=columns)
    edges = grn.edges[grn.edges[SIGN] != 0]
    others: dict[str, np.ndarray] = {}
    if cells is not None:
        known = edges["TF"].isin(cells.var_names) & edges["target"].isin(cells.var_names)
        correlations = edge_correlations(cells, edges[known]).set_axis(edges.index[known])
        for label, column in ((CORRELATION, "raw"), (WITHIN, "within")):
            values = correlations[column].reindex(edges.index).fillna(0.0).to_numpy()
            if column == "raw" or correlations[column].notna().any():
                others[label] = np.where(np.abs(values) * np.sqrt(cells.n_obs) > CLEAR, np.sign(values), 0)
    if reference is not None and SIGN in reference:
        signs = reference_signs(reference)
        others[name] = np.array([signs.get(edge, 0) for edge in zip(edges["TF"], edges["target"], strict=True)])
    ours = edges[SIGN].to_numpy()
    rows = [(label, *_agreement(ours, theirs)) for label, theirs in others.items()]
    return pd.DataFrame(rows, columns=columns)


def reference_signs(reference: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return the sign of each reference edge; edges with an unknown sign, or given with both signs, are left out."""
    known = reference.loc[reference[SIGN] != 0, ["TF", "target", SIGN]].drop_duplicates()
    known = known[~known.duplicated(["TF", "target"], keep=False)]
    return {(str(tf), str(target)): int(sign) for tf, target, sign in known.itertuples(index=False, name=None)}


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, float, float, float, float]:
    import numpy as np

    ours, theirs = ours[theirs != 0], theirs[theirs != 0]
    n = len(ours)
    if n == 0:
        return 0, np.nan, np.nan, np.nan, np.nan
    agree = int((ours == theirs).sum())
    low, high = share_interval(agree, n)
    positive = (ours > 0).mean(), (theirs > 0).mean()
    by_chance = positive[0] * positive[1] + (1 - positive[0]) * (1 - positive[1])
    return n, agree / n, low, high, float(by_chance)


def sign_text(grn: GRN, agreement: pd.DataFrame) -> str:
    """Return the lines for the terminal: how many edges have a sign, and each row of :func:`sign_agreement`."""
    signs = list((grn.signs or {}).values())
    if not signs:
        return "Signs: no edge has one\n"
    repressing = 100 * sum(sign < 0 for sign in signs) / len(signs)
    lines = [f"Signs: {len(signs)} of {len(grn.edges)} edges have one, {repressing:.1f} % repression"]
    for row in agreement.to_dict("records"):
        share = f"{100 * row['agree']:5.1f} % agree, by chance {100 * row['by_chance']:.1f} %" if row["edges"] else ""
        lines.append(f"  {row['with']:30} {row['edges']:>6} edges to compare  {share}".rstrip())
    return "\n".join(lines) + "\n"
