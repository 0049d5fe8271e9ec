"""Between Hydra's multirun and :mod:`llm4grn.sweep`; beside :mod:`llm4grn.cli` all that knows Hydra."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from llm4grn import cli, cli_plan
from llm4grn.secrets import without_secrets
from llm4grn.sweep.checks import Problems
from llm4grn.sweep.comparison import compare, failures
from llm4grn.sweep.jobs import Job
from llm4grn.sweep.records import forget, run_recorded
from llm4grn.sweep.resources import cores, share_threads, take_gpu, visible_gpus
from llm4grn.workers import leave_with_parent

GROUP = "multirun_sweeps"


@dataclass
class Sweep:
    """The sweep that this process leads."""

    name: str
    folder: Path
    jobs: Sequence[Job]
    store: Path
    data: Path
    command: str

    def finish(self, broken: Exception | None = None) -> None:
        """Compare what is there, list what is not, and end the program with a status that says so.

        Parameters
        ----------
        broken
            What stopped the launcher, if anything did.
        """
        told = compare(self.folder, self.jobs, store=self.store, data=self.data, command=self.command)
        if told:
            print(f"\n{told}")
        failed = failures(self.folder, self.jobs)
        if broken is None and not failed:
            print(f"\n{self.name}: all {len(self.jobs)} jobs done, {self.folder}")
            return
        print(f"\n{self.name}: {len(failed)} of {len(self.jobs)} jobs are not done", file=sys.stderr)
        for line in failed:
            print(f"  {line}", file=sys.stderr)
        if broken is not None:
            print(f"the jobs were stopped: {cli.first_line(broken)}", file=sys.stderr)
        print("The same command again runs only what is missing.", file=sys.stderr)
        sys.exit(1)


_led: Sweep | None = None


def led() -> Sweep | None:
    """The sweep that this process leads, once its first job may start."""
    return _led


class PlanAndCompare(Callback):
    """Hydra's hooks: the plan and the checks before the first job, the comparison after the last."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """With ``plan_only`` a single run has a plan too."""
        with _ends():
            if cli_plan.is_plan_only(config):
                problems = Problems()
                job = cli_plan.job(0, list(config.hydra.overrides.task), config, problems)
                cli_plan.show([job], config, "run", problems)
                sys.exit(0)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the plan; end here if that is all that was asked for, or if a job could not succeed."""
        global _led
        with _ends():
            setup_globals()
            problems = Problems()
            jobs = cli_plan.jobs(config, problems)
            name = config.hydra.runtime.choices.get(GROUP) or "sweep"
            cli_plan.show(jobs, config, name, problems)
            if cli_plan.is_plan_only(config):
                sys.exit(0)
            if problems:
                sys.exit(2)
            folder, paths = Path(config.hydra.sweep.dir), config.paths
            _led = Sweep(name, folder, jobs, Path(paths.store), Path(paths.data), _command(config))
            for job in jobs:
                forget(_led.folder, job.overrides)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare."""
        with _ends():
            if _led is not None:
                _led.finish()


def _command(config: DictConfig) -> str:
    """What was typed."""
    words = without_secrets(list(config.hydra.overrides.task))
    return shlex.join(["python", f"{config.hydra.job.name}.py", "-m", *words])


@contextmanager
def _ends() -> Iterator[None]:
    """Hydra turns what a callback raises into a warning, and goes on; here it ends the program."""
    try:
        with cli.one_line_errors():
            yield
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def is_job() -> bool:
    """Whether this is one of several jobs that are recorded and compared."""
    config = HydraConfig.get()
    return config.mode == RunMode.MULTIRUN and "sweep" in config.callbacks


def run_job(task: Callable[[], Path | None]) -> None:
    """Run one job of a sweep in this process, which may be a worker."""
    config = HydraConfig.get()
    _share_machine(config.launcher)
    os.environ.setdefault("WANDB_RUN_GROUP", Path(config.sweep.dir).name)
    run_recorded(config.job.num, list(config.overrides.task), Path(config.sweep.dir), task, one_line=cli.first_line)


def _share_machine(launcher: DictConfig) -> None:
    """Divide cores and GPUs, if several jobs run on this machine at once."""
    kind = launcher._target_.rpartition(".")[2]
    if kind == "JoblibLauncher":
        if led() is None:
            leave_with_parent(os.getppid())
        n_jobs = launcher.n_jobs if launcher.n_jobs > 0 else max(cores() + 1 + launcher.n_jobs, 1)
        share_threads(cores() // n_jobs)
        take_gpu(visible_gpus())
    elif kind == "LocalLauncher":  # of submitit; on a cluster SLURM gives each job its share
        share_threads(launcher.cpus_per_task or 1)


def find_sweeps(script: str) -> None:
    """Make the folder ``multirun_sweeps`` beside the script a config group, if the command names it."""
    for position, word in enumerate(sys.argv):
        if word.lstrip("+").startswith(f"{GROUP}="):
            root = str(Path(script).absolute().parent).replace("\\", "\\\\").replace("'", "\\'")
            # Beside it, as argparse wants all such words in one row.
            sys.argv.insert(position + 1, f"hydra.searchpath=['file://{root}']")
            return
