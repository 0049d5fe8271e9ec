"""Run a command: Hydra composes its config, the task runs, and errors are reported."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from llm4grn.cli import sweep
from llm4grn.cli.config import check_paths
from llm4grn.cli.errors import one_line_errors, quoted, reads_as_text
from llm4grn.cli.logs import set_up_logging
from llm4grn.cli.program import CONF
from llm4grn.errors import UserError


def run(task: Callable[[DictConfig], Path | None], config_name: str, conf: Path = CONF) -> None:
    """Run ``task`` with the config that Hydra composes from a folder and the command line.

    An error that the user can repair ends the program with one line on stderr and exit status 2; any other keeps its
    traceback. A job of a sweep writes its error to its record instead, so that the other jobs go on.

    Parameters
    ----------
    task
        Function of the composed config that returns the folder it wrote, if a sweep can compare it.
    config_name
        Name of the YAML file in ``conf``, without its suffix.
    conf
        Folder of the YAML files, with ``multirun_sweeps`` beside it.
    """
    set_up_logging()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them and exiting

    @wraps(task)
    def guarded(cfg: DictConfig) -> None:
        if sweep.is_job():
            set_up_logging()  # a worker process starts without it
            sweep.run_job(lambda: task(cfg))
            return
        with one_line_errors():  # inside Hydra, which would log a line of its own about the job
            check_paths(cfg)
            task(cfg)

    sys.argv[1:] = [_prepared(word) for word in sys.argv[1:]]
    with one_line_errors():
        _reject_dashed_options()
        sweep.add_sweep_group(conf.parent)
        try:
            hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)(guarded)()
        except Exception as error:
            current = sweep.current_sweep()
            if current is None:
                raise
            current.finish(launcher_error=error)  # a worker died: errors that jobs raise are in their records


def _prepared(word: str) -> str:
    """Return an argument with ``~`` as the home folder, which shells leave alone behind ``=``, and a query quoted."""
    if match := re.fullmatch(r"([+\w./@]+=)([\"']?)(~(?:/.*|)(?=\2))(.*)", word, re.DOTALL):
        word = f"{match[1]}{match[2]}{os.path.expanduser(match[3])}{match[4]}"
    # A query is a text whatever it holds, and nothing else can be meant by its operators.
    if re.match(r"\+{0,2}dataset\.subset=[^\"']*(?:[=<>!&|]| in ).*", word) and not reads_as_text(word):
        word = shlex.split(quoted(word))[0]
    return word


def _reject_dashed_options() -> None:
    """Raise UserError for ``--field=value``, where Hydra's parser would print its whole usage."""
    _, unknown = get_args_parser().parse_known_args()
    if unknown:
        first = next((word for word in unknown if word.startswith("-")), unknown[0])
        raise UserError(f"{first}: there is no such option; fields are set without dashes, as in seed=2000; see --help")
