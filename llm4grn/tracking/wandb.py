"""The Weights & Biases tracker: one W&B run per setting, offline unless an API key is set."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from llm4grn.errors import UserError
from llm4grn.results import COLUMNS
from llm4grn.tracking.base import LiveTracker, Outcome, RunInfo

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger("llm4grn")

STEP = "trainer/global_step"  # the name that Lightning's own W&B logger uses
INIT_TIMEOUT = 30.0  # seconds to wait for the server before the run is kept offline

Mode = Literal["online", "offline", "disabled", "shared"]


def prepare_wandb(mode: str, folder: Path) -> Mode:
    """Set the environment variables of W&B that the user has not set, and return the mode for ``wandb.init``.

    Parameters
    ----------
    mode
        ``online``, ``offline`` or ``auto``.
    folder
        Folder of the local W&B runs.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")  # otherwise WANDB_MODE=online prompts for a key on a terminal
    # W&B keeps tables here until they are uploaded; its default lies in the user's home.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder.absolute()))
    if user_mode := os.environ.get("WANDB_MODE"):
        return cast("Mode", user_mode)  # wandb.init checks it
    has_key = bool(os.environ.get("WANDB_API_KEY"))
    return "online" if has_key and mode != "offline" else "offline"


class WeightsAndBiases(LiveTracker["wandb.Run"]):
    """Weights & Biases, offline unless an API key is in the environment; it never prompts the user.

    Parameters
    ----------
    project, entity
        W&B project and entity of the run.
    mode
        ``online``, ``offline``, or ``auto``: online if ``WANDB_API_KEY`` is set. ``WANDB_MODE`` overrides it.

    Raises
    ------
    UserError
        If ``mode`` is unknown, or ``online`` without ``WANDB_API_KEY``.

    Notes
    -----
    A run keeps its id for as long as its setting and data are the same, so repeating or resuming a job shows the same
    run. W&B cannot append to an offline run: a run that a killed process left incomplete is removed and logged again
    from its first step. The group is ``WANDB_RUN_GROUP``, which a sweep sets to its name.
    """

    directory = "wandb"

    def __init__(self, project: str = "llm4grn", entity: str | None = None, mode: str = "auto") -> None:
        if mode not in (modes := ("auto", "online", "offline")):
            raise UserError(f"logger.mode={mode}: choose one of {', '.join(modes)}")
        if mode == "online" and not os.environ.get("WANDB_API_KEY"):
            raise UserError("logger.mode=online: WANDB_API_KEY is not set; export it, or use logger.mode=offline")
        super().__init__()
        self.project = project
        self.entity = entity
        self.mode = mode

    def _open(self, run: RunInfo) -> wandb.Run:
        import wandb

        mode = prepare_wandb(self.mode, run.folder.parent / self.directory)
        for earlier in (run.folder.parent / self.directory).glob(f"*run-*-{run.id}"):  # offline-run- and run-
            shutil.rmtree(earlier, ignore_errors=True)
        try:
            record = self._init(run, mode)
        except wandb.Error as error:
            if mode == "offline":
                raise
            logger.warning("W&B cannot be reached (%s): offline instead", str(error).partition("\n")[0])
            record = self._init(run, mode := "offline")
        for stage in "controller", "causal_gan":
            record.define_metric(f"{stage}/*", step_metric=STEP)
        logger.info("W&B (%s): %s", mode, record.url if mode == "online" else record.settings.sync_dir)
        return record

    def _init(self, run: RunInfo, mode: Mode) -> wandb.Run:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            id=run.id,
            name=run.name,
            job_type="train",
            dir=str(run.folder.parent),
            mode=mode,
            tags=[f"{name}:{value}"[:64] for name, value in run.labels.items() if value not in ("", None)],
            config={"setting": _setting(run.labels), "labels": dict(run.labels), **run.config},
            # Progress bars of the terminal and the state of the user's git checkout are not recorded.
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, init_timeout=INIT_TIMEOUT
            ),
        )

    def _log(self, record: wandb.Run, values: Mapping[str, float], step: int) -> None:
        record.log({**values, STEP: step})

    def _show(self, record: wandb.Run, outcome: Outcome) -> None:
        import wandb

        rows: list[Iterable[Any]] = [[getattr(result, name) for name in COLUMNS] for result in outcome.results]
        pictures = {name: wandb.Image(str(path)) for name, path in outcome.pictures.items()}
        record.log({"scores": wandb.Table(columns=list(COLUMNS), data=rows), **pictures})
        record.summary.update(outcome.summary)

    def _shut(self, record: wandb.Run, complete: bool) -> None:
        import wandb

        try:
            record.finish(exit_code=0 if complete else 1)
        except (wandb.Error, OSError):
            with suppress(wandb.Error, OSError):
                wandb.teardown()  # W&B's service process is gone: the next run starts another
            raise


def _setting(labels: Mapping[str, Any]) -> str:
    """Return a label shared by all runs that differ only in the seed, to group them by.

    Examples
    --------
    >>> _setting({"dataset": "pbmc3k", "kb": "human", "inferer": "grnboost2", "llm": "", "seed": 1000})
    'pbmc3k / human / grnboost2'
    """
    return " / ".join(str(value) for name, value in labels.items() if name != "seed" and value not in ("", None))
