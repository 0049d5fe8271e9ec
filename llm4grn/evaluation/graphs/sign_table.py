"""The table of how often the signs of networks agree with those of correlations and of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.real_cells import training_cells
from llm4grn.evaluation.graphs.reference_table import reference_loader, reference_name
from llm4grn.evaluation.graphs.runs import GraphRun, by_setting, over_seeds
from llm4grn.evaluation.graphs.signs import CLEAR, sign_agreement
from llm4grn.report.blocks import Cell, Table

if TYPE_CHECKING:
    import pandas as pd

_HEADER = (
    *("Data set", "KB", "Inferer", "Compared with", "Graphs", "Signed edges", "Repressing, %"),
    *("Edges compared", "Agree, %", "By chance, %"),
)


def sign_table(
    runs: Sequence[GraphRun],
    references: Sequence[str] = (),
    *,
    data: str | Path = "data",
    store: str | Path | None = None,
) -> Table | None:
    """Tabulate the agreement of signs, one row per setting and comparison; None if no network has signs.

    Parameters
    ----------
    runs
        Runs from :func:`~llm4grn.evaluation.graphs.runs.read_graph_runs`.
    references
        What to compare with beside correlations, each ``truth``, ``collectri`` or the path of a table.
    data, store
        Folders of downloaded data and of finished stages, which has the training cells.
    """
    import pandas as pd

    signed = [run for run in runs if run.grn.signs]
    if not signed:
        return None
    loaders = [(reference_name(reference), reference_loader(reference, data)) for reference in references]
    rows: list[list[Cell | str]] = []
    for setting, members in by_setting(signed).items():
        tables = []
        for run in members:
            cells = training_cells(run.folder, None if store is None else Path(store))
            agreements = [sign_agreement(run.grn, cells)]
            for name, edges_of in loaders:
                with suppress(UserError):  # the table of scores says why
                    agreements.append(sign_agreement(run.grn, None, edges_of(run), name=name))
            tables.append(pd.concat(agreements).set_index("with"))
        signs = [list((run.grn.signs or {}).values()) for run in members]
        numbers = [
            Cell(str(len(members)), len(members)),
            over_seeds([len(of) for of in signs], 0),
            over_seeds([sum(sign < 0 for sign in of) / len(of) for of in signs], 1, 100),
        ]
        for label in dict.fromkeys(label for table in tables for label in table.index):
            compared = [table.loc[label] for table in tables if label in table.index and table.loc[label, "edges"]]
            rows.append([*setting, str(label), *numbers, *_shares(compared)])
    notes = [
        f"Edges compared: those whose sign is known in both. A correlation has a sign if it is further than {CLEAR} "
        "standard errors from 0; within cell types: the mean of each gene in each type is subtracted first. By chance: "
        "share expected of independent signs that are as often positive.",
    ]
    return Table("graph_signs", "Activation or repression?", _HEADER, rows, 4, notes) if rows else None


def _shares(compared: Sequence[pd.Series]) -> list[Cell | str]:
    if not compared:
        return [Cell("0", 0), "–", "–"]
    shares = [over_seeds([float(row[name]) for row in compared], 1, 100) for name in ("agree", "by_chance")]
    return [over_seeds([float(row["edges"]) for row in compared], 0), *shares]
