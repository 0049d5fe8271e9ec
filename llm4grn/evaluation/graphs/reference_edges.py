"""The edges that a network is held against: known, curated, or anybody's table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.data.readers import open_text
from llm4grn.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

COLLECTRI = "collectri_human.tsv.gz"
_COLUMNS = {"tf": "TF", "source": "TF", "gene1": "TF", "source_genesymbol": "TF", "target": "target"}
_COLUMNS |= {"gene2": "target", "target_genesymbol": "target"}
_EXPECTED = "expected a tab- or comma-separated table with the columns TF and target (or Gene1 and Gene2)"


def load_reference(name: str, source: object = None, folder: str | Path = ".") -> pd.DataFrame:
    """The edges that ``reference=name`` means.

    Parameters
    ----------
    name
        ``truth``, the true graph of simulated data; ``collectri``, ``collectri_human.tsv.gz`` in ``folder``; else the
        path of a table, see :func:`read_reference`.
    source
        Of the cells, for ``truth``.
    folder
        ``paths.data``.

    Raises
    ------
    UserError
        If there are no such edges.
    """
    from llm4grn.data.simulated import true_graph

    if name == "truth":
        return true_graph(source)[["TF", "target"]]
    path = Path(folder) / COLLECTRI if name == "collectri" else Path(name)
    if name == "collectri" and not path.is_file():
        raise UserError(
            f"reference=collectri: there is no {path}; put the CollecTRI edges there as a table of TF and target, for "
            "instance those of decoupler's op.collectri(organism='human') or OmniPath"
        )
    return read_reference(path.expanduser())


def read_reference(path: str | Path) -> pd.DataFrame:
    """Reference edges from a tab- or comma-separated table, also gzip-compressed.

    Returns
    -------
    DataFrame
        ``TF`` and ``target``, as text; other columns are left out.

    Raises
    ------
    UserError
        If it cannot be read, or has no such columns or edges.
    """
    import zlib

    import pandas as pd

    path = Path(path)
    try:
        with open_text(path) as file:
            separator = "\t" if "\t" in file.readline() else ","
        # Names stay text: a gene can be called NA or NAN.
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"reference={path}: cannot be read ({reason}); {_EXPECTED}") from error
    table = table.rename(columns={name: _COLUMNS.get(str(name).strip().lower(), name) for name in table.columns})
    if any(list(table.columns).count(name) != 1 for name in ("TF", "target")):
        raise UserError(f"reference={path}: it has the columns {', '.join(map(str, table.columns[:6]))}; {_EXPECTED}")
    if table.empty:
        raise UserError(f"reference={path}: no edges in it; {_EXPECTED}")
    return table[["TF", "target"]]
