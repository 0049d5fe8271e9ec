"""Signs of regulatory edges: 1 for activation, -1 for repression, 0 for unknown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: Name of the optional column of a table of edges.
SIGN = "sign"
#: Sign by the lower-case words and numbers that tools write for it.
SIGNS = {
    **dict.fromkeys(("activation", "activates", "activator", "activate", "activated", "activating", "stimulation"), 1),
    **dict.fromkeys(("stimulates", "induction", "induces", "enhances", "positive", "up", "upregulates", "pos"), 1),
    **dict.fromkeys(("upregulation", "increase", "increases", "+", "1", "+1", "1.0", "->", "-->"), 1),
    **dict.fromkeys(("repression", "represses", "repressor", "repress", "repressed", "repressing", "inhibition"), -1),
    **dict.fromkeys(("inhibits", "inhibitor", "inhibit", "inhibiting", "suppression", "suppresses", "suppressor"), -1),
    **dict.fromkeys(("negative", "neg", "down", "downregulates", "downregulation", "decrease", "decreases"), -1),
    **dict.fromkeys(("-", "-1", "-1.0", "-|", "--|", "⊣"), -1),
    **dict.fromkeys(("unknown", "", "0", "0.0", "na", "nan", "<na>", "none", ".", "?", "ambiguous", "dual"), 0),
    **dict.fromkeys(("both", "+/-", "-/+", "+-", "unspecified", "undefined", "regulates", "regulation"), 0),
}


def sign_of(text: str) -> int | None:
    """Return the sign that a word or number stands for, 0 if it is not known or several contradict; None for others.

    Examples
    --------
    >>> sign_of("Inhibits"), sign_of("Activation;Repression"), sign_of("up-regulation"), sign_of("binding")
    (-1, 0, 1, None)
    """
    word = text.strip().casefold()
    if word in SIGNS:
        return SIGNS[word]
    parts = [_sign(part.strip()) for part in re.split(r"[;,|/]", word)]
    if any(part is None for part in parts):
        return None
    known = {part for part in parts if part}
    return known.pop() if len(known) == 1 else 0


def _sign(word: str) -> int | None:
    return SIGNS.get(word, SIGNS.get(re.sub("[-_ ]", "", word) or word))


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
    texts = column.astype(object).where(column.notna(), "").astype(str)
    signs = texts.map({text: sign_of(text) for text in texts.unique()})
    if signs.isna().any():
        raise ValueError(f"{column[signs.isna()].iloc[0]!r}")
    return signs.astype("int8")
