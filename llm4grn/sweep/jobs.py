"""The jobs of a sweep, and the pipeline that each would run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

from llm4grn.pipeline import Pipeline, describe
from llm4grn.setting import Setting
from llm4grn.store import Stage, Store


@dataclass(frozen=True)
class Job:
    """One setting of a sweep.

    Parameters
    ----------
    number
        Position in the sweep, from 0.
    overrides
        Hydra overrides of the job, ``field=value``.
    setting
        Setting to compute; None if the config is invalid.
    on_gpu
        True if the job trains on a GPU.
    """

    number: int
    overrides: tuple[str, ...]
    setting: Setting | None = None
    on_gpu: bool = False


@dataclass(frozen=True)
class PlannedPipeline(Pipeline):
    """Pipeline whose data stage is given and not derived from its source.

    Parameters
    ----------
    data
        Data stage, see :func:`first_stage`.
    """

    data: Stage = field(default=None)  # type: ignore[assignment]  # a field after those with defaults needs one


def planned_pipelines(jobs: Sequence[Job], store: Store) -> dict[int, PlannedPipeline]:
    """Return the pipeline of each job that has a setting, by job number; nothing is run or downloaded.

    Each data set is fingerprinted once. A missing one gets a placeholder stage that no store holds, the same for all
    jobs on that data set.
    """
    known: dict[str, Stage] = {}
    pipelines = {}
    for job in jobs:
        if job.setting is not None:
            name = repr((job.setting.dataset, job.setting.seed))
            if name not in known:
                known[name] = first_stage(job.setting, store)
            pipelines[job.number] = PlannedPipeline(job.setting, store, data=known[name])
    return pipelines


def first_stage(setting: Setting, store: Store) -> Stage:
    """Return the data stage of a setting, or a placeholder with another key if its files are missing or damaged."""
    dataset = setting.dataset
    if to_download(dataset.source) is None:
        try:
            return Pipeline(setting, store).data
        except (ValueError, OSError):  # preflight.check_data reports it
            pass
    source = {f.name: repr(getattr(dataset.source, f.name)) for f in fields(cast(Any, dataset.source))}
    args = {"absent": source, "preprocessing": describe(dataset.preprocessing), "seed": setting.seed}
    return Stage("data", 1, args)


def to_download(source: object) -> str | None:
    """Return the address to download a source's files from; None if they exist already or are never downloaded."""
    return source.to_download() if hasattr(source, "to_download") else None
