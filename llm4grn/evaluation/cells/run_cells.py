"""The cells of a finished run: real and synthetic ones in its folder, and those that only the store has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.results import drawn_by, read_run

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class RunCells:
    """Access to the cells of one run.

    Parameters
    ----------
    folder
        Folder of the finished run.
    store
        Folder of finished stages; ``None`` if it is not available.
    setting
        Labels of the run: dataset, kb, inferer, llm, model, graph, seed.
    key
        Key of the run.
    stages
        Name of each of its stages to the stage's key.
    """

    folder: Path
    store: Path | None
    setting: Mapping[str, str | int]
    key: str
    stages: Mapping[str, str]

    @classmethod
    def open(cls, folder: Path, store: Path | None = None) -> RunCells:
        """Read the labels and keys of the run in ``folder``.

        Raises
        ------
        UserError
            If there is no results.json that ``train.py`` wrote, or no cells beside it.
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
    def dataset(self) -> str:
        """Return the name of the data set."""
        return str(self.setting["dataset"])

    @property
    def seed(self) -> int:
        """Return the seed of the run and of its split."""
        return int(self.setting["seed"])

    @property
    def data_file(self) -> Path | None:
        """Return the file with the cells of all splits; ``None`` without a store or if the store has removed it."""
        return self._stored(Path("data") / self.stages["data"] / "cells.h5ad")

    def test(self) -> AnnData:
        """Read the real test cells."""
        return _read(self.folder / "test.h5ad")

    def real(self, split: str) -> AnnData | None:
        """Read the real cells of another split; ``None`` where :attr:`data_file` is."""
        return None if self.data_file is None else _read_split(self.data_file, split)

    def synthetic_files(self) -> list[Path]:
        """Return the files of the synthetic sets of cells, ordered by sample."""
        return _in_order(self.folder.glob("synthetic_*.h5ad"))

    def stage1_files(self) -> list[Path]:
        """Return the files of the sets that the GAN without a graph made; empty if the store does not have them."""
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
    """Open the runs in ``folders``, sorted by data set, setting and seed, without duplicates."""
    runs = {run.key: run for run in (RunCells.open(folder, store) for folder in folders)}
    return sorted(runs.values(), key=lambda run: (*(str(v) for k, v in run.setting.items() if k != "seed"), run.seed))


def setting_names(runs: Sequence[RunCells]) -> list[str]:
    """Name each run by its KB, its inferer and any other label, except the seed, that varies within its data set.

    An LLM that drew the edges is shown in place of the inferer; one that is shown by neither KB nor inferer is added
    where runs differ in it.
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
    return str(setting["kb"]), drawn_by(str(setting["inferer"]), str(setting.get("llm") or ""))


def _read(path: Path) -> AnnData:
    import anndata

    return anndata.read_h5ad(path)


def _read_split(path: Path, split: str) -> AnnData:
    from llm4grn.data import preprocess

    return preprocess.split(_read(path), split)


def _in_order(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: int(path.stem.rpartition("_")[2]))


CONTROL = "control"
STAGE1 = "stage 1"


@dataclass(frozen=True)
class CellSet:
    """One set of cells to compare with the real test cells of its run.

    Parameters
    ----------
    source
        ``control``, ``stage1`` or ``run``, as in the results.
    name
        Name in tables and pictures.
    run, sample
        A run on the same real cells, and the index of the set within it.
    load
        Function that reads the cells.
    """

    source: str
    name: str
    run: RunCells
    sample: int
    load: Callable[[], AnnData]

    @property
    def dataset(self) -> str:
        """Return the name of the data set."""
        return self.run.dataset


def cell_sets(runs: Sequence[RunCells]) -> dict[tuple[str, str], list[CellSet]]:
    """Collect the sets of cells to compare with the real test cells of each split: control, stage 1, runs.

    The control consists of validation cells, which neither the generator nor the classifier was trained on.

    Returns
    -------
    Split (see :func:`split_key`) to its sets of cells.
    """
    sets: dict[tuple[str, str], dict[tuple, CellSet]] = {}
    for run, name in zip(runs, setting_names(runs), strict=True):
        own = sets.setdefault(split_key(run), {})
        models = {peer.setting["model"] for peer in runs if peer.setting["dataset"] == run.setting["dataset"]}
        stage1 = f"{STAGE1} / {run.setting['model']}" if len(models) > 1 else STAGE1
        if run.data_file is not None:
            own[(0,)] = CellSet("control", CONTROL, run, 0, partial(_control, run, run.data_file))
        for i, path in enumerate(run.stage1_files()):
            own[1, stage1, run.stages["controller"], i] = CellSet("stage1", stage1, run, i, partial(_read, path))
        for i, path in enumerate(run.synthetic_files()):
            own[2, name, run.key, i] = CellSet("run", name, run, i, partial(_read, path))
    return {key: [own[order] for order in sorted(own)] for key, own in sets.items()}


def split_key(run: RunCells) -> tuple[str, str]:
    """Return what identifies the real cells of a run: the name of the data set and the key of the data stage."""
    return run.dataset, run.stages["data"]


def _control(run: RunCells, data_file: Path) -> AnnData:
    """Return as many validation cells as there are test cells, at most: the first ones, whose order was shuffled."""
    return _read_split(data_file, "validation")[: run.test().n_obs]
