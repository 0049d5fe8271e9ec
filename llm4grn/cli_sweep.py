"""Between Hydra's multirun and :mod:`llm4grn.sweep`; beside :mod:`llm4grn.cli` all that knows Hydra."""

from __future__ import annotations

import copy
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from llm4grn import cli
from llm4grn.errors import UserError
from llm4grn.store import Store
from llm4grn.sweep import checks
from llm4grn.sweep.comparison import compare, failures
from llm4grn.sweep.jobs import Job, planned_pipelines
from llm4grn.sweep.plan import Plan
from llm4grn.sweep.questions import asking, costs
from llm4grn.sweep.records import forget, run_recorded
from llm4grn.sweep.resources import cores, share_threads, take_gpu, visible_gpus

GROUP = "multirun_sweeps"
_BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"


@dataclass
class Sweep:
    """The sweep that this process leads."""

    name: str
    folder: Path
    jobs: Sequence[Job]

    def finish(self, broken: Exception | None = None) -> None:
        """Compare what is there, list what is not, and end the program with a status that says so.

        Parameters
        ----------
        broken
            What stopped the launcher, if anything did.
        """
        if table := compare(self.folder, self.jobs):
            print(f"\n{table}")
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
            if _is_plan_only(config):
                problems = checks.Problems()
                job = _job(0, list(config.hydra.overrides.task), config, problems)
                _plan([job], config, "run", problems)
                sys.exit(0)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the plan; end here if that is all that was asked for, or if a job could not succeed."""
        global _led
        with _ends():
            setup_globals()
            problems = checks.Problems()
            jobs = [
                _job(number, overrides, _compose(config, overrides, problems, number), problems)
                for number, overrides in enumerate(_overrides(config))
            ]
            name = config.hydra.runtime.choices.get(GROUP) or "sweep"
            lines = _plan(jobs, config, name, problems)
            if _is_plan_only(config):
                sys.exit(0)
            if lines:
                sys.exit(2)
            _led = Sweep(name, Path(config.hydra.sweep.dir), jobs)
            for job in jobs:
                forget(_led.folder, job.overrides)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare."""
        with _ends():
            if _led is not None:
                _led.finish()


@contextmanager
def _ends() -> Iterator[None]:
    """Hydra turns what a callback raises into a warning, and goes on; here it ends the program."""
    try:
        with cli.one_line_errors():
            yield
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def _is_plan_only(config: DictConfig) -> bool:
    if not isinstance(config.plan_only, bool):
        raise UserError(f"plan_only={config.plan_only}: expected true or false")
    return config.plan_only


def _overrides(config: DictConfig) -> list[list[str]]:
    """Those of each job, in order, as Hydra's own sweeper splits them.

    Raises
    ------
    UserError
        If another sweeper would choose the jobs one after the other.
    """
    sweeper = config.hydra.sweeper
    if sweeper._target_ != _BASIC:  # by name: Hydra loads its plugins a second time, so the classes differ
        raise UserError(f"hydra/sweeper={sweeper._target_}: the jobs are not known before; use the basic sweeper")
    typed = [f"{field}={value}" for field, value in (sweeper.params or {}).items()]
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*typed, *config.hydra.overrides.task])
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def _compose(config: DictConfig, overrides: Sequence[str], problems: checks.Problems, number: int) -> DictConfig | None:
    try:
        return GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        problems.add(cli.one_line(error), number)
        return None


def _job(number: int, overrides: Sequence[str], config: DictConfig | None, problems: checks.Problems) -> Job:
    """The job with its setting, and without one if that cannot be built; checks on the way what needs the config."""
    if config is None:
        return Job(number, tuple(overrides))
    config = copy.deepcopy(config)
    with open_dict(config):
        del config["hydra"]
    with _made_up_environment(config) as unset:
        for variable in unset:
            problems.add(f"the environment variable {variable} is not set; export it", number)
        try:
            setting = cli.build_setting(config)
        except (UserError, HydraException, OmegaConfBaseException) as error:
            problems.add(cli.one_line(error), number)
            return Job(number, tuple(overrides))
    parts = [lambda: cli.check_paths(config)]
    if setting.model is not None:
        parts += [lambda: cli.trainer_arguments(config), lambda: cli.instantiate(config.logger)]
    for part in parts:
        try:
            part()
        except (UserError, HydraException, OmegaConfBaseException) as error:
            problems.add(cli.one_line(error), number)
    return Job(number, tuple(overrides), setting)


@contextmanager
def _made_up_environment(config: DictConfig) -> Iterator[list[str]]:
    """Give each variable that the config reads and nobody set a value, so that all other problems are found too."""
    unset: list[str] = []
    try:
        while variable := _unset_variable(config):
            os.environ[variable] = checks.UNSET
            unset.append(variable)
        yield unset
    finally:
        for variable in unset:
            del os.environ[variable]


def _unset_variable(config: DictConfig) -> str | None:
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return cli.unset_variable(error)
    return None


def _plan(jobs: Sequence[Job], config: DictConfig, name: str, problems: checks.Problems) -> list[str]:
    """Print plan and problems, and give the problems."""
    store = Store(Path(config.paths.store))
    pipelines = planned_pipelines(jobs, store)
    stages = {}
    for job in jobs:
        if job.setting is not None and (found := checks.check_stages(pipelines[job.number], job, problems)):
            stages[job.number] = found
            if any(not store.has(stage) for stage in found):  # a finished job needs nobody
                checks.check_data(job, problems)
    plan = Plan(store, stages, costs({number: pipelines[number] for number in stages}, problems))
    to_ask = {cost.names for cost in plan.costs if cost.n_answered < cost.n_questions}
    for number in stages:
        for _, part, names in asking(pipelines[number]):
            problems.catch(number, lambda llm=part.llm, names=names: checks.check_llm(llm, names in to_ask))
    checks.check_disk(store, plan.to_run, problems, stages)
    print(plan.text(jobs, name), flush=True)
    lines = problems.lines(len(jobs))
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    if lines:
        n = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        print(f"{n} to solve before the first job can start", file=sys.stderr)
    return lines


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
