"""Every command: Hydra composes its config, the task runs, and how it ends is told."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from llm4grn.cli import sweep
from llm4grn.cli.config import check_paths
from llm4grn.cli.errors import one_line_errors
from llm4grn.cli.program import CONF
from llm4grn.errors import UserError
from llm4grn.runtime.quiet import quiet_lightning


def run(task: Callable[[DictConfig], Path | None], config_name: str, conf: Path = CONF) -> None:
    """Run ``task`` with the config that Hydra composes from a folder and the command line.

    Whatever the user can repair ends as one line on stderr and exit status 2; anything else keeps its traceback. A job
    of a sweep ends neither way, but in its record, so that the others go on.

    Parameters
    ----------
    task
        Gives the folder it wrote, where a sweep has use for it.
    config_name
        Of the file in ``conf``.
    conf
        The folder of YAML files; ``multirun_sweeps`` lies beside it.
    """
    _set_up_logging()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on, instead of printing several lines and exiting

    @wraps(task)
    def guarded(cfg: DictConfig) -> None:
        if sweep.is_job():
            _set_up_logging()  # in a worker nobody did
            sweep.run_job(lambda: task(cfg))
            return
        with one_line_errors():  # inside Hydra, which would print a line of its own about the job
            check_paths(cfg)
            task(cfg)

    with one_line_errors():
        _refuse_dashes()
        sweep.find_sweeps(conf.parent)
        try:
            hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)(guarded)()
        except Exception as error:
            current = sweep.current_sweep()
            if current is None:
                raise
            current.finish(broken=error)  # a launcher lost a worker: what a job raises is in its record


def _refuse_dashes() -> None:
    """Refuse ``--field=value``, to which Hydra's parser would answer with its whole usage."""
    _, unknown = get_args_parser().parse_known_args()
    if unknown:
        first = next((word for word in unknown if word.startswith("-")), unknown[0])
        raise UserError(f"{first}: there is no such option; fields are set without dashes, as in seed=2000; see --help")


def _set_up_logging() -> None:
    """Our own messages with the time since the start; others' only if they are warnings."""
    start = time.monotonic()

    class Elapsed(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            return f"[{time.monotonic() - start:6.1f} s] {level}{record.getMessage()}"

    handler = logging.StreamHandler()
    handler.setFormatter(Elapsed())
    ours = logging.getLogger("llm4grn")
    ours.handlers = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False
    quiet_lightning()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
