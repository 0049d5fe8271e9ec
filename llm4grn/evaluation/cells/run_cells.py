"""The cells of a finished run: real ones, synthetic ones, and those that only the store still has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.results import read_run

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class RunCells:
    """Where the cells of one run lie.

    Parameters
    ----------
    folder
        Of the finished run.
    store
        Of finished stages; ``None`` if it is not at hand.
    setting
        The labels of the run: dataset, kb, inferer, llm, model, graph, seed.
    key
        Of the run.
    stages
        Name to key of the stages it was made of.
    """

    folder: Path
    store: Path | None
    setting: Mapping[str, str | int]
    key: str
    stages: Mapping[str, str]

    @classmethod
    def open(cls, folder: Path, store: Path | None = None) -> RunCells:
        """Read what a folder says of its run.

        Raises
        ------
        UserError
            No results.json that ``train.py`` wrote, or no cells beside it.
        """
        folder = Path(folder)
        run = read_run(folder)
        if missing := [name for name in ("setting", "key", "stages") if name not in run]:
            raise UserError(
                f"{folder / 'results.json'}: no '{missing[0]}' under 'run'; give the folder of a finished run"
            )
        for name in ("test.h5ad", "synthetic_0.h5ad"):
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder}: no {name} in it; delete its results.json and run the same command again to write it"
                )
        return cls(folder, None if store is None else Path(store), run["setting"], run["key"], run["stages"])

    @property
    def seed(self) -> int:
        """Of the run and of its split."""
        return int(self.setting["seed"])

    @property
    def data_file(self) -> Path | None:
        """The cells of all splits; ``None`` if the store is not at hand or no longer has them."""
        return self._stored(Path("data") / self.stages["data"] / "cells.h5ad")

    def test(self) -> AnnData:
        """Real held-out cells."""
        return _read(self.folder / "test.h5ad")

    def real(self, split: str) -> AnnData | None:
        """Real cells of another split; ``None`` if the store has them no longer."""
        from llm4grn.data import preprocess

        return None if self.data_file is None else preprocess.split(_read(self.data_file), split)

    def synthetic_files(self) -> list[Path]:
        """One file per synthetic set of cells, in their order."""
        return _in_order(self.folder.glob("synthetic_*.h5ad"))

    def stage1_files(self) -> list[Path]:
        """The same of the GAN without a graph; empty if the store has them no longer."""
        wanted = {"data": self.stages["data"], "generator": self.stages["controller"]}
        folders = [] if self.store is None else sorted((self.store / "cells").glob("*/stage.json"))
        for path in folders:
            stage = json.loads(path.read_text(encoding="utf-8"))
            if stage["args"].get("source") == "stage1" and stage["inputs"] == wanted:
                return _in_order(path.parent.glob("*.h5ad"))
        return []

    def _stored(self, path: Path) -> Path | None:
        return self.store / path if self.store is not None and (self.store / path).is_file() else None


def open_runs(folders: Sequence[Path], store: Path | None = None) -> list[RunCells]:
    """The runs in ``folders`` by data set, setting and seed; one that is given twice comes once."""
    runs = {run.key: run for run in (RunCells.open(folder, store) for folder in folders)}
    return sorted(runs.values(), key=lambda run: (*(str(v) for k, v in run.setting.items() if k != "seed"), run.seed))


def setting_names(runs: Sequence[RunCells]) -> list[str]:
    """For each run its KB and inferer, and whatever else sets its data set's runs apart, seeds aside.

    A language model that drew the edges stands under its own name; one that the names of KB and inferer do not show is
    added where runs differ in it.
    """
    names = []
    for run in runs:
        peers = [peer.setting for peer in runs if peer.setting["dataset"] == run.setting["dataset"]]
        own = _kb_and_inferer(run.setting)
        more = [name for name in ("model", "graph") if len({peer.get(name) for peer in peers}) > 1]
        if len({peer.get("llm") for peer in peers if _kb_and_inferer(peer) == own}) > 1:
            more.insert(0, "llm")
        names.append(" / ".join([*own, *(str(run.setting[name]) for name in more if run.setting.get(name))]))
    return names


def _kb_and_inferer(setting: Mapping[str, object]) -> tuple[str, str]:
    inferer = setting["llm"] if setting["inferer"] == "llm" and setting.get("llm") else setting["inferer"]
    return str(setting["kb"]), str(inferer)


def _read(path: Path) -> AnnData:
    import anndata

    return anndata.read_h5ad(path)


def _in_order(paths) -> list[Path]:
    return sorted(paths, key=lambda path: int(path.stem.rpartition("_")[2]))


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
