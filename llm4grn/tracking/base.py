"""Where a run can be followed and compared: Weights & Biases, TensorBoard, or files only.

Losses always go to ``losses.csv`` in the store and results to ``results.csv`` in the run's folder, whichever is chosen.
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
from typing import TYPE_CHECKING, Any, ClassVar

from filelock import Timeout

from llm4grn.errors import UserError
from llm4grn.results import Result
from llm4grn.runtime.locks import KernelLock

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

HISTORIES = {"losses.csv": "", "monitor.csv": "/monitor", "validation.csv": "/validation"}

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class RunInfo:
    """What a tracker shows of a run: a stable id, so that a repeated job is the same run, a name, labels and config."""

    id: str
    name: str
    labels: Mapping[str, Any]
    config: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What a finished run has to show.

    Parameters
    ----------
    results
        Scores of control, stage 1 and run.
    table
        The same as Markdown.
    trained
        Folders of the finished trainings, by the name of the stage.
    pictures
        PNG files by name.
    """

    results: Sequence[Result]
    table: str
    trained: Mapping[str, Path]
    pictures: Mapping[str, Path]

    @property
    def summary(self) -> dict[str, float]:
        """Means over samples under names that group well: ``run/mmd``, ``control/mmd``, ``stage1/mmd`` ..."""
        values: dict[str, list[float]] = {}
        for result in self.results:
            values.setdefault(f"{result.source}/{result.metric}", []).append(result.value)
        return {name: fmean(values[name]) for name in sorted(values)}

    @property
    def files(self) -> dict[str, Path]:
        """Tables that the trainings wrote, by the prefix that their columns have in a tracker."""
        return {
            f"{stage}{suffix}": folder / name
            for stage, folder in self.trained.items()
            for name, suffix in HISTORIES.items()
            if (folder / name).is_file()
        }

    @cached_property
    def histories(self) -> dict[str, list[dict[str, float]]]:
        """The rows of these tables; one column is ``step``."""
        return {prefix: _rows(path) for prefix, path in self.files.items()}


def _rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


class Tracker(ABC):
    """Follows one run at a time; nothing is started before something is to be shown."""

    @abstractmethod
    def loggers(self, run: RunInfo) -> Sequence[Logger]:
        """Lightning loggers for the training of ``run``; the same ones at every call."""

    @abstractmethod
    def finish(self, run: RunInfo, outcome: Outcome) -> None:
        """Add what ``run`` has to show at its end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the run, also after an error, so that the next job of a sweep starts its own."""


class FilesOnly(Tracker):
    """No tracker: losses become CSV files in the run's folder, beside results and pictures."""

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


class LiveTracker(Tracker):
    """Shows losses while they come, and ends with a record that is whole and there once.

    A stage that another job trained, or that was killed and resumed, was not followed from its first step on: its
    numbers are then taken from the store. What a killed process left of a run is replaced. If two processes compute the
    same run, one of them shows it. What goes wrong here is a warning: it costs no training and no result.

    Attributes
    ----------
    directory
        Of the records, beside the runs.
    """

    directory: ClassVar[str]

    def __init__(self) -> None:
        self._lock: KernelLock | None = None  # the kernel drops it when its holder dies
        self._follower: Logger | None = None
        self._forget()

    @abstractmethod
    def _open(self, run: RunInfo) -> None:
        """Begin an empty record in place of any earlier one of the same run."""

    @abstractmethod
    def _log(self, values: Mapping[str, float], step: int) -> None: ...

    @abstractmethod
    def _show(self, outcome: Outcome) -> None:
        """Add scores, table and pictures."""

    @abstractmethod
    def _shut(self, complete: bool) -> None:
        """End the record, if there is one."""

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
        with self._costs_nothing():
            if self._broken or self._has_gaps(outcome):
                self._end(complete=False)
                self._forget()
                self._open(run)
            for prefix, rows in outcome.histories.items():
                if prefix not in self._followed_from:
                    for row in rows:
                        values = {f"{prefix}/{name}": value for name, value in row.items() if name != "step"}
                        self._log(values, int(row["step"]))
            self._show(outcome)
            self._complete = True

    def close(self) -> None:
        if self._lock is None:
            return
        self._end(self._complete)
        self._lock.release()
        self._lock, self._follower = None, None
        self._forget()

    def _forget(self) -> None:
        self._followed_from: dict[str, int] = {}  # first step that was seen, by prefix
        self._broken = self._complete = False

    def _start(self, run: RunInfo) -> bool:
        """Whether this process shows the run."""
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
            with self._costs_nothing():
                self._open(run)
        return True

    def _follow(self, values: Mapping[str, float], step: int) -> None:
        if not self._broken:
            with self._costs_nothing():
                self._log(values, step)
                for name in values:
                    self._followed_from.setdefault(name.rpartition("/")[0], step)

    def _has_gaps(self, outcome: Outcome) -> bool:
        seen = self._followed_from
        return any(prefix in seen and rows[0]["step"] < seen[prefix] for prefix, rows in outcome.histories.items())

    def _end(self, complete: bool) -> None:
        with self._costs_nothing():
            self._shut(complete)

    @contextmanager
    def _costs_nothing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._broken = True
            text = " ".join(str(error).split())
            logger.warning("%s: %s: %s; the run goes on", self.directory, type(error).__name__, text)


class TensorBoard(LiveTracker):
    """TensorBoard files in the folder ``tensorboard`` beside the runs."""

    directory = "tensorboard"

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise UserError("logger=tensorboard needs the package tensorboard: pip install tensorboard")
        super().__init__()
        self._writer = None

    def _open(self, run: RunInfo) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder.parent / self.directory / f"{run.name}-{run.id}"
        shutil.rmtree(folder, ignore_errors=True)
        self._labels = {name: str(value) for name, value in run.labels.items()}
        self._writer = SummaryWriter(str(folder))

    def _log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def _show(self, outcome: Outcome) -> None:
        import numpy as np
        from PIL import Image

        # Labels and scores go to the tab HPARAMS, which sorts and filters runs by them.
        self._writer.add_hparams(self._labels, outcome.summary, run_name=".", global_step=0)
        self._writer.add_text("scores", outcome.table)
        for name, path in outcome.pictures.items():
            with Image.open(path) as picture:
                self._writer.add_image(name, np.asarray(picture.convert("RGB")), dataformats="HWC")

    def _shut(self, complete: bool) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
