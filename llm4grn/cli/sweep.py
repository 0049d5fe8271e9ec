"""Connect Hydra's multirun to :mod:`llm4grn.sweep`: callbacks around the jobs, and the setup of each job's process."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from llm4grn.cli import plan, program
from llm4grn.cli.errors import first_line, one_line_errors
from llm4grn.errors import UserError
from llm4grn.runtime.secrets import without_secrets
from llm4grn.runtime.workers import leave_with_parent
from llm4grn.sweep.comparison import compare, failures
from llm4grn.sweep.jobs import Job
from llm4grn.sweep.preflight import Problems
from llm4grn.sweep.records import lock_sweep, remove_record, run_recorded
from llm4grn.sweep.resources import cores, share_threads, take_gpu, visible_gpus

GROUP = "multirun_sweeps"


def sweep_name(words: Sequence[str]) -> str:
    """Name a sweep without a grid by its varied fields and a digest of its overrides.

    The same command gets the same name, and so goes on with the same sweep.

    Examples
    --------
    >>> sweep_name(["inferer=random,correlation", "model.causal_gan.steps=9", "seed=1,2"])
    'inferer_seed_8968a730'
    """
    overrides = OverridesParser.create().parse_overrides(list(words))
    varied = sorted(re.sub(r"\W", "_", word.key_or_group) for word in overrides if word.is_sweep_override())
    return "_".join([*varied, hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:8]])


OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)


@dataclass
class Sweep:
    """The sweep that this process leads."""

    name: str
    folder: Path
    jobs: Sequence[Job]
    store: Path
    data: Path
    command: str

    def finish(self, launcher_error: Exception | None = None) -> None:
        """Compare the finished jobs and list the others; exit with status 1 if there are any.

        Parameters
        ----------
        launcher_error
            Exception that stopped the launcher, if any.
        """
        comparison = compare(self.folder, self.jobs, store=self.store, data=self.data, command=self.command)
        if comparison:
            print(f"\n{comparison}")
        failed = failures(self.folder, self.jobs)
        if launcher_error is None and not failed:
            print(f"\n{self.name}: all {len(self.jobs)} jobs done, {self.folder}")
            return
        print(f"\n{self.name}: {len(failed)} of {len(self.jobs)} jobs are not done", file=sys.stderr)
        for line in failed:
            print(f"  {line}", file=sys.stderr)
        if launcher_error is not None:
            print(f"the jobs were stopped: {first_line(launcher_error)}", file=sys.stderr)
        print("The same command again runs only what is missing.", file=sys.stderr)
        sys.exit(1)


_current: Sweep | None = None


def current_sweep() -> Sweep | None:
    """Return the sweep that this process leads; None before its checks have passed, and in workers."""
    return _current


class PlanAndCompare(Callback):
    """Hydra callback that plans and checks a sweep before its first job, and compares its runs after the last."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the plan of a single run, and exit, if ``plan_only`` is set."""
        with exit_on_error():
            if name := config.hydra.runtime.choices.get(GROUP):
                raise UserError(f"+{GROUP}={name}: these are many runs; add -m")
            if plan.is_plan_only(config):
                problems = Problems()
                job = plan.job(0, list(config.hydra.overrides.task), config, problems)
                plan.show([job], config, "run", problems)
                sys.exit(_plan_exit_status([job]))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the plan; exit if ``plan_only`` is set or a job could not succeed."""
        global _current
        with exit_on_error():
            setup_globals()
            problems, plan_only = Problems(), plan.is_plan_only(config)
            jobs = plan.jobs(config, problems)
            plan.limit_workers(config, len(jobs))
            name = config.hydra.runtime.choices.get(GROUP) or "sweep"
            plan.show(jobs, config, name, problems)
            if plan_only:
                sys.exit(_plan_exit_status(jobs))
            if problems:
                sys.exit(2)
            folder, paths = Path(config.hydra.sweep.dir), config.paths
            # Jobs compose their config from this list; by their own overrides they would name another folder.
            with open_dict(config.hydra):
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={_quoted(folder)}")
            lock_sweep(folder)
            _current = Sweep(name, folder, jobs, Path(paths.store), Path(paths.data), _command(config))
            for job in jobs:
                remove_record(_current.folder, job.overrides)
            print(f"The comparison goes to {folder}, and what becomes of each job to {folder / 'jobs'}\n", flush=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the runs."""
        with exit_on_error():
            if _current is not None:
                _current.finish()


def _plan_exit_status(jobs: Sequence[Job]) -> int:
    """Return 2 if the command has a mistake, so that a job cannot be built; missing files alone give 0."""
    return 2 if any(job.setting is None for job in jobs) else 0


def _command(config: DictConfig) -> str:
    """Return the command line of the sweep, without secrets."""
    words = without_secrets(list(config.hydra.overrides.task))
    return shlex.join([*program.command_words(config.hydra.job.name), "-m", *words])


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program with any exception of the block; Hydra would only warn of what a callback raises, and go on."""
    try:
        with one_line_errors():
            yield
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def is_job() -> bool:
    """Return True if this process runs a job of a sweep, which is recorded and compared."""
    config = HydraConfig.get()
    return config.mode == RunMode.MULTIRUN and "sweep" in config.callbacks


def run_job(task: Callable[[], Path | None]) -> None:
    """Run one job of a sweep in this process, which may be a worker.

    Parameters
    ----------
    task
        Function that computes the job and returns the folder of its run, if it has one.
    """
    config = HydraConfig.get()
    number, overrides, sweep = config.job.num, list(config.overrides.task), Path(config.sweep.dir)
    _share_machine(config.launcher)
    os.environ.setdefault("WANDB_RUN_GROUP", sweep.name)
    with _job_prefix(number):
        run_recorded(number, overrides, sweep, task, one_line=first_line)


@contextmanager
def _job_prefix(number: int) -> Iterator[None]:
    """Prefix every log message with the number of the job, as several jobs may write to one terminal."""

    def add_prefix(record: logging.LogRecord) -> bool:
        record.msg = f"job {number}: {record.msg}"
        return True

    handlers = logging.getLogger("llm4grn").handlers
    for handler in handlers:
        handler.addFilter(add_prefix)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(add_prefix)


def _share_machine(launcher: DictConfig) -> None:
    """Take this job's share of the cores and GPUs, if several jobs run on this machine at once."""
    kind = launcher._target_.rpartition(".")[2]
    if kind == "JoblibLauncher":
        if current_sweep() is None and (parent := multiprocessing.parent_process()) is not None:
            leave_with_parent(parent.pid)
        share_threads(cores() // launcher.n_jobs)
        take_gpu(visible_gpus())
    elif kind == "LocalLauncher":  # submitit's; on a cluster SLURM gives each job its share
        share_threads(launcher.cpus_per_task or 1)


def add_sweep_group(folder: Path) -> None:
    """Make ``multirun_sweeps`` in this folder a config group, if the command line names it.

    Raises
    ------
    UserError
        If the command line names several grids.
    """
    for position, word in enumerate(sys.argv):
        field, _, name = word.lstrip("+").partition("=")
        if field != GROUP:
            continue
        if "," in name:
            raise UserError(f"{word}: one grid at a time; to run both in one command, write a grid of your own")
        root = _quoted(f"file://{folder.absolute()}")
        # Inserted here because argparse wants all overrides in one run. The plus adds a group that no config has.
        sys.argv[position : position + 1] = [f"+{GROUP}={name}", f"hydra.searchpath=[{root}]"]
        return


def _quoted(value: object) -> str:
    """Quote a value for Hydra's override grammar."""
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
