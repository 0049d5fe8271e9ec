"""Signs of regulatory edges: 1 for activation, -1 for repression, 0 for unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: Name of the optional column of a table of edges.
SIGN = "sign"
#: Sign by the lower-case words and numbers that tools write for it.
SIGNS = {
    **dict.fromkeys(
        ("activation", "activates", "activator", "stimulation", "positive", "up", "+", "1", "+1", "1.0"), 1
    ),
    **dict.fromkeys(("repression", "represses", "repressor", "inhibition", "negative", "down", "-", "-1", "-1.0"), -1),
    **dict.fromkeys(("unknown", "", "0", "0.0", "na", "nan", "<na>", "none", "."), 0),
}


def read_signs(column: pd.Series) -> pd.Series:
    """Convert a column of signs, as numbers or as text, to int8 values of 1, -1 and 0 (unknown, also if missing).

    Raises
    ------
    ValueError
        If an entry is no sign; the message names the entry.

    Examples
    --------
    >>> import pandas as pd
    >>> read_signs(pd.Series(["+1", "-", "", "activation", None, 1.0])).tolist()
    [1, -1, 0, 1, 0, 1]
    """
    texts = column.astype(object).where(column.notna(), "").astype(str).str.strip().str.lower()
    signs = texts.map(SIGNS)
    if signs.isna().any():
        raise ValueError(f"{column[signs.isna()].iloc[0]!r}")
    return signs.astype("int8")
