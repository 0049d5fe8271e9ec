"""All sets of cells that are held against the real test cells of a split: control, stage 1, runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.evaluation.cells.run_cells import RunCells, setting_names

if TYPE_CHECKING:
    from anndata import AnnData

CONTROL = "control"
STAGE1 = "stage 1"


@dataclass(frozen=True)
class CellSet:
    """One set of cells to hold against the real test cells of its run.

    Parameters
    ----------
    source
        ``control``, ``stage1`` or ``run``, as in the results.
    name
        In tables and pictures.
    run, sample
        One with the same real cells; which of its sets.
    load
        Reads the cells.
    """

    source: str
    name: str
    run: RunCells
    sample: int
    load: Callable[[], AnnData]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.run.setting["dataset"])


def cell_sets(runs: Sequence[RunCells]) -> dict[tuple[str, str], list[CellSet]]:
    """What to look at beside the real test cells of each split, by data set and data: control, stage 1, runs.

    The control is the validation cells: real ones that neither the generator nor the classifier has learned from.
    """
    found: dict[tuple[str, str], dict[tuple, CellSet]] = {}
    for run, name in zip(runs, setting_names(runs), strict=True):
        own = found.setdefault(split_key(run), {})
        models = {peer.setting["model"] for peer in runs if peer.setting["dataset"] == run.setting["dataset"]}
        stage1 = f"{STAGE1} / {run.setting['model']}" if len(models) > 1 else STAGE1
        if run.data_file is not None:
            own[(0,)] = CellSet("control", CONTROL, run, 0, lambda run=run: _control(run))
        for i, path in enumerate(run.stage1_files()):
            own[1, stage1, run.stages["controller"], i] = CellSet("stage1", stage1, run, i, partial(_read, path))
        for i, path in enumerate(run.synthetic_files()):
            own[2, name, run.key, i] = CellSet("run", name, run, i, partial(_read, path))
    return {key: [own[order] for order in sorted(own)] for key, own in found.items()}


def split_key(run: RunCells) -> tuple[str, str]:
    """What runs on the same real cells have in common: data set, key of the data."""
    return str(run.setting["dataset"]), run.stages["data"]


def _control(run: RunCells) -> AnnData:
    """Validation cells, no more than there are test cells: the first, which a shuffle has put there."""
    cells, n_cells = run.real("validation"), run.test().n_obs
    return cells[:n_cells]


def _read(path: Path) -> AnnData:
    import anndata

    return anndata.read_h5ad(path)
