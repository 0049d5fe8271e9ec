"""Build the jobs of a sweep from Hydra's multirun, print their plan, and collect the problems that would stop them."""

from __future__ import annotations

import copy
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from llm4grn.cli.config import build_setting, check_paths, instantiate, trainer_arguments
from llm4grn.cli.errors import one_line, unset_variable
from llm4grn.errors import UserError
from llm4grn.store import Store
from llm4grn.sweep import preflight
from llm4grn.sweep.estimates import networks_of
from llm4grn.sweep.jobs import Job, planned_pipelines
from llm4grn.sweep.plan import Plan
from llm4grn.sweep.preflight import Problems
from llm4grn.sweep.questions import costs, stages_that_ask
from llm4grn.sweep.resources import cores, free_gpu_bytes

_BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"
_MISTAKES = UserError, HydraException, OmegaConfBaseException


def is_plan_only(config: DictConfig) -> bool:
    """Return True if the command should only print its plan.

    Raises
    ------
    UserError
        If ``plan_only`` is neither true nor false.
    """
    if not isinstance(config.plan_only, bool):
        raise UserError(f"plan_only={config.plan_only}: expected true or false")
    return config.plan_only


def jobs(config: DictConfig, problems: Problems) -> list[Job]:
    """Return the jobs of a sweep, in order; a job whose config cannot be composed adds to ``problems``."""
    return [
        job(number, overrides, _compose(config, overrides, problems, number), problems)
        for number, overrides in enumerate(_overrides(config))
    ]


def limit_workers(config: DictConfig, n_jobs: int) -> None:
    """Limit joblib's processes to the number of jobs, so that each gets its full share of the cores and GPUs.

    Raises
    ------
    UserError
        If ``hydra.launcher.n_jobs`` is 0.
    """
    launcher = config.hydra.launcher
    if launcher._target_.endswith(".JoblibLauncher"):
        if launcher.n_jobs == 0:
            raise UserError("hydra.launcher.n_jobs=0: expected how many jobs at once; -1 is one per core")
        n = launcher.n_jobs if launcher.n_jobs > 0 else max(cores() + 1 + launcher.n_jobs, 1)
        with open_dict(config.hydra):
            launcher.n_jobs = min(n, n_jobs)
            # Workers compose their config again from this list.
            config.hydra.overrides.hydra.append(f"hydra.launcher.n_jobs={launcher.n_jobs}")


def _overrides(config: DictConfig) -> list[list[str]]:
    """Return the overrides of each job, in order, as Hydra's basic sweeper splits them.

    Raises
    ------
    UserError
        If another sweeper is configured, whose jobs may depend on the results of earlier ones.
    """
    sweeper = config.hydra.sweeper
    if sweeper._target_ != _BASIC:  # by name: Hydra loads its plugins a second time, so the classes differ
        raise UserError(f"hydra/sweeper={sweeper._target_}: the jobs are not known before; use the basic sweeper")
    grid = [f"{field}={value}" for field, value in (sweeper.params or {}).items()]
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*grid, *config.hydra.overrides.task])
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def _compose(config: DictConfig, overrides: Sequence[str], problems: Problems, number: int) -> DictConfig | None:
    try:
        return GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    except _MISTAKES as error:
        problems.add(one_line(error), number)
        return None


def job(number: int, overrides: Sequence[str], config: DictConfig | None, problems: Problems) -> Job:
    """Build one job, without a setting if its config is invalid, and add errors of the config to ``problems``."""
    if config is None:
        return Job(number, tuple(overrides))
    config, for_cluster = copy.deepcopy(config), _is_for_cluster(config)
    with open_dict(config):
        del config["hydra"]
    with _placeholder_environment(config) as unset:
        for variable in unset:
            problems.add(f"the environment variable {variable} is not set; export it", number)
        try:
            setting = build_setting(config)
        except _MISTAKES as error:
            problems.add(one_line(error), number)
            return Job(number, tuple(overrides))
    on_gpu = setting.model is not None and _wants_gpu(config.trainer.accelerator)
    if on_gpu and for_cluster:
        config.trainer.accelerator = "auto"  # the machine that submits may have no GPU
    checks: list[Callable[[], object]] = [lambda: check_paths(config)]
    if setting.model is not None:
        checks += [lambda: trainer_arguments(config), lambda: instantiate(config.logger)]
    for check in checks:
        try:
            check()
        except _MISTAKES as error:
            problems.add(one_line(error), number)
    return Job(number, tuple(overrides), setting, on_gpu)


def _wants_gpu(accelerator: object) -> bool:
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and bool(free_gpu_bytes()))


@contextmanager
def _placeholder_environment(config: DictConfig) -> Iterator[list[str]]:
    """Set each unset variable that the config reads to a placeholder, so that the other problems are found too.

    Yields
    ------
    Names of these variables, which are unset again at the end of the block.
    """
    unset: list[str] = []
    try:
        while variable := _unset_variable(config):
            os.environ[variable] = preflight.UNSET
            unset.append(variable)
        yield unset
    finally:
        for variable in unset:
            del os.environ[variable]


def _unset_variable(config: DictConfig) -> str | None:
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return unset_variable(error)
    return None


def show(jobs: Sequence[Job], config: DictConfig, name: str, problems: Problems) -> None:
    """Print the plan of the jobs and every problem, those that the plan itself reveals included."""
    store = Store(Path(config.paths.store))
    pipelines = planned_pipelines(jobs, store)
    stages = {}
    for job in jobs:
        if job.setting is not None and (job_stages := preflight.check_stages(pipelines[job.number], job, problems)):
            stages[job.number] = job_stages
            if any(not store.has(stage) for stage in job_stages):  # a finished job does not read its data
                preflight.check_data(job, problems)
    pipelines = {number: pipelines[number] for number in stages}
    asking = {number: stages_that_ask(pipeline) for number, pipeline in pipelines.items()}
    waiting = {stage.key for asking_stages in asking.values() for stage, *_ in asking_stages}
    on_gpu = {stage.key for job in jobs if job.on_gpu for stage in stages.get(job.number, ()) if networks_of(stage)}
    plan = Plan(store, stages, costs(pipelines, problems), waiting, on_gpu)
    _check_models(plan, asking, problems)
    _check_machine(plan, jobs, config, problems)
    print(plan.text(jobs, name), flush=True)
    lines = problems.lines(len(jobs))
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    if lines:
        n = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        print(f"{n} to solve before the first job can start", file=sys.stderr)


def _check_models(plan: Plan, asking: Mapping[int, Sequence[tuple]], problems: Problems) -> None:
    """Check the keys and addresses of the language models."""
    to_ask = {cost.names for cost in plan.costs if cost.n_answered < cost.n_questions}
    for number, stages in asking.items():
        for _, part, names in stages:
            problems.catch(number, partial(preflight.check_llm, part.llm, names in to_ask))


def _check_machine(plan: Plan, jobs: Sequence[Job], config: DictConfig, problems: Problems) -> None:
    """Check the free space on the disks and the free memory of the GPUs."""
    folders = Path(config.paths.store), Path(config.paths.outputs)
    preflight.check_disk(folders, plan.bytes, problems, plan.stages)
    if plan.on_gpu and not _is_for_cluster(config):
        free, to_run = free_gpu_bytes(), {stage.key for stage in plan.to_run}
        sharing = math.ceil(_n_concurrent_jobs(config, len(jobs)) / max(len(free), 1))
        for job in jobs:
            missing = [stage for stage in plan.stages.get(job.number, ()) if stage.key in to_run & set(plan.on_gpu)]
            preflight.check_gpu(free, missing, job.number, problems, sharing)


def _n_concurrent_jobs(config: DictConfig, n_jobs: int) -> int:
    """Return how many jobs run on this machine at the same time."""
    launcher = config.hydra.launcher
    if launcher._target_.endswith(".LocalLauncher"):  # submitit's, which starts all jobs at once
        return n_jobs
    return launcher.get("n_jobs", 1)


def _is_for_cluster(config: DictConfig) -> bool:
    """Return True if the jobs run on other machines than this one."""
    return config.hydra.launcher._target_.endswith(".SlurmLauncher")
