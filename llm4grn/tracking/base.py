"""The interface of trackers, and the trackers that write TensorBoard files or CSV files only.

Whichever tracker is chosen, losses are written to ``losses.csv`` in the store and results to ``results.csv`` in the
run's folder.
"""

from __future__ import annotations

import csv
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from filelock import Timeout

from llm4grn.errors import UserError
from llm4grn.results import Result
from llm4grn.runtime.locks import KernelLock

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger
    from torch.utils.tensorboard import SummaryWriter

#: Tables that a training writes, and the suffix that their columns' prefix gets in a tracker.
HISTORIES = {"losses.csv": "", "monitor.csv": "/monitor", "validation.csv": "/validation"}

logger = logging.getLogger("llm4grn")

Record = TypeVar("Record")


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told about a run at its start.

    Parameters
    ----------
    id
        Stable id: a repeated job gets the same one and replaces its earlier record.
    name
        Display name.
    labels
        Tags that runs are filtered and grouped by.
    config
        Resolved configuration.
    folder
        Output folder of the run.
    """

    id: str
    name: str
    labels: Mapping[str, Any]
    config: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What a tracker is told about a run at its end.

    Parameters
    ----------
    results
        Scores of control, stage 1 and run.
    table
        The scores as a Markdown table.
    trained
        Folders of the finished trainings by stage name.
    pictures
        Paths of PNG files by name.
    """

    results: Sequence[Result]
    table: str
    trained: Mapping[str, Path]
    pictures: Mapping[str, Path]

    @property
    def summary(self) -> dict[str, float]:
        """Return means over samples, named ``source/metric``: ``run/mmd``, ``control/mmd``, ``stage1/mmd`` ..."""
        values: dict[str, list[float]] = {}
        for result in self.results:
            values.setdefault(f"{result.source}/{result.metric}", []).append(result.value)
        return {name: fmean(values[name]) for name in sorted(values)}

    @property
    def files(self) -> dict[str, Path]:
        """Return the paths of the tables that the trainings wrote, by the prefix of their columns in a tracker."""
        return {
            f"{stage}{suffix}": folder / name
            for stage, folder in self.trained.items()
            for name, suffix in HISTORIES.items()
            if (folder / name).is_file()
        }

    @cached_property
    def histories(self) -> dict[str, list[dict[str, float]]]:
        """Return the rows of :attr:`files`, by the same prefix; one column is ``step``."""
        return {prefix: _rows(path) for prefix, path in self.files.items()}


def _rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


class Tracker(ABC):
    """Shows one run at a time; it starts nothing before the first call of :meth:`loggers` or :meth:`finish`."""

    @abstractmethod
    def loggers(self, run: RunInfo) -> Sequence[Logger]:
        """Return Lightning loggers for the training of ``run``, the same ones at every call."""

    @abstractmethod
    def finish(self, run: RunInfo, outcome: Outcome) -> None:
        """Add the outcome of ``run`` to its record."""

    @abstractmethod
    def close(self) -> None:
        """End the record, also after an error, so that the next job of a sweep can start its own."""


class FilesOnly(Tracker):
    """No tracker: the trainings' tables are copied into the run's folder, beside results and pictures."""

    def loggers(self, run: RunInfo) -> Sequence[Logger]:
        return ()

    def finish(self, run: RunInfo, outcome: Outcome) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        for stage, folder in outcome.trained.items():
            for path in (folder / name for name in HISTORIES):
                if path.is_file():
                    shutil.copyfile(path, run.folder / f"{stage}_{path.name}")

    def close(self) -> None:
        return


class LiveTracker(Tracker, Generic[Record]):
    """Shows losses during training, and ends with exactly one complete record of each run.

    If a stage was not followed from its first step on, because another job trained it or because it was killed and
    resumed, its numbers are taken from the store. A record that a killed process left incomplete is replaced. If two
    processes compute the same run, one of them shows it. A failure of the tracker is logged as a warning and stops
    neither training nor evaluation.

    ``Record`` is the type of an open record: a W&B run, a TensorBoard writer.

    Attributes
    ----------
    directory
        Folder of the records, beside the runs' folders.
    """

    directory: ClassVar[str]
    _broken: bool
    _complete: bool

    def __init__(self) -> None:
        self._lock: KernelLock | None = None  # the kernel releases it when its holder dies
        self._follower: Logger | None = None
        self._record: Record | None = None
        self._reset()

    @abstractmethod
    def _open(self, run: RunInfo) -> Record:
        """Begin an empty record that replaces any earlier one of the same run."""

    @abstractmethod
    def _log(self, record: Record, values: Mapping[str, float], step: int) -> None:
        """Add the values of one step."""

    @abstractmethod
    def _show(self, record: Record, outcome: Outcome) -> None:
        """Add scores, table and pictures."""

    @abstractmethod
    def _shut(self, record: Record, complete: bool) -> None:
        """End the record."""

    def loggers(self, run: RunInfo) -> Sequence[Logger]:
        if not self._start(run):
            return ()
        if self._follower is None:
            from llm4grn.tracking.lightning import Follower

            self._follower = Follower(self._follow)
        return (self._follower,)

    def finish(self, run: RunInfo, outcome: Outcome) -> None:
        if not self._start(run):
            return
        with self._warn_on_failure():
            record = self._record
            if record is None or self._broken or self._has_gaps(outcome):
                self._end(complete=False)
                self._reset()
                record = self._record = self._open(run)
            for prefix, rows in outcome.histories.items():
                if prefix not in self._followed_from:
                    for row in rows:
                        values = {f"{prefix}/{name}": value for name, value in row.items() if name != "step"}
                        self._log(record, values, int(row["step"]))
            self._show(record, outcome)
            self._complete = True

    def close(self) -> None:
        if self._lock is None:
            return
        self._end(self._complete)
        self._lock.release()
        self._lock, self._follower = None, None
        self._reset()

    def _reset(self) -> None:
        self._followed_from: dict[str, int] = {}  # first logged step by prefix
        self._broken = self._complete = False

    def _start(self, run: RunInfo) -> bool:
        """Open a record of the run unless it is open; return False if another process shows the run."""
        if self._lock is None:
            folder = run.folder.parent / self.directory / ".locks"
            folder.mkdir(parents=True, exist_ok=True)
            lock = KernelLock(folder / f"{run.id}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.info("another process shows this run in %s", folder.parent)
                return False
            self._lock = lock
            with self._warn_on_failure():
                self._record = self._open(run)
        return True

    def _follow(self, values: Mapping[str, float], step: int) -> None:
        if self._record is not None and not self._broken:
            with self._warn_on_failure():
                self._log(self._record, values, step)
                for name in values:
                    self._followed_from.setdefault(name.rpartition("/")[0], step)

    def _has_gaps(self, outcome: Outcome) -> bool:
        """Return True if a history began before the first of its steps that was logged here."""
        first = self._followed_from
        return any(prefix in first and rows[0]["step"] < first[prefix] for prefix, rows in outcome.histories.items())

    def _end(self, complete: bool) -> None:
        record, self._record = self._record, None
        if record is not None:
            with self._warn_on_failure():
                self._shut(record, complete)

    @contextmanager
    def _warn_on_failure(self) -> Iterator[None]:
        """Turn an exception into a warning, and mark the record as broken."""
        try:
            yield
        except Exception as error:
            self._broken = True
            text = " ".join(str(error).split())
            logger.warning("%s: %s: %s; the run goes on", self.directory, type(error).__name__, text)


class TensorBoard(LiveTracker["SummaryWriter"]):
    """Writes TensorBoard files into the folder ``tensorboard`` beside the runs."""

    directory = "tensorboard"

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise UserError("logger=tensorboard needs the package tensorboard: pip install tensorboard")
        super().__init__()

    def _open(self, run: RunInfo) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder.parent / self.directory / f"{run.name}-{run.id}"
        shutil.rmtree(folder, ignore_errors=True)
        self._labels = {name: str(value) for name, value in run.labels.items()}
        return SummaryWriter(str(folder))

    def _log(self, record: SummaryWriter, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            record.add_scalar(name, value, step)

    def _show(self, record: SummaryWriter, outcome: Outcome) -> None:
        import numpy as np
        from PIL import Image

        # The tab HPARAMS sorts and filters runs by labels and scores.
        record.add_hparams(self._labels, outcome.summary, run_name=".", global_step=0)
        record.add_text("scores", outcome.table)
        for name, path in outcome.pictures.items():
            with Image.open(path) as picture:
                record.add_image(name, np.asarray(picture.convert("RGB")), dataformats="HWC")

    def _shut(self, record: SummaryWriter, complete: bool) -> None:
        record.close()
