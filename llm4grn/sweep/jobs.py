"""What a sweep is made of: its jobs, and where the line of each begins."""

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
        From 0, in the order of the sweep.
    overrides
        What distinguishes it, as typed: ``field=value``.
    setting
        What it computes; None if that cannot be built.
    on_gpu
        Whether it trains on one.
    """

    number: int
    overrides: tuple[str, ...]
    setting: Setting | None = None
    on_gpu: bool = False


@dataclass(frozen=True)
class PlannedPipeline(Pipeline):
    """The stages of a setting whose first stage is known, or made up: its source is left alone.

    Parameters
    ----------
    data
        The first stage.
    """

    data: Stage = field(default=None)  # type: ignore[assignment]  # a field after those with defaults needs one


def planned_pipelines(jobs: Sequence[Job], store: Store) -> dict[int, PlannedPipeline]:
    """The line of each job that has a setting, by its number; nothing is run and nothing downloaded.

    Data sets are fingerprinted once. One that cannot be (it is not there) gets a stage that no store holds, the same
    one for all jobs that want the same data.
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
    """The data stage of a setting, or one under another key if the data are not there or not whole."""
    dataset = setting.dataset
    if to_download(dataset.source) is None:
        try:
            return Pipeline(setting, store).data
        except (ValueError, OSError):  # said by the checks
            pass
    source = {f.name: repr(getattr(dataset.source, f.name)) for f in fields(cast(Any, dataset.source))}
    args = {"absent": source, "preprocessing": describe(dataset.preprocessing), "seed": setting.seed}
    return Stage("data", 1, args)


def to_download(source: object) -> str | None:
    """The address that a source's files would come from, None if they are there or are no download."""
    return source.to_download() if hasattr(source, "to_download") else None
