"""Check, before the first job of a sweep, everything that could stop one: all problems at once, one line each."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from llm4grn.errors import UserError
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.client import read_key, read_values
from llm4grn.pipeline import Pipeline
from llm4grn.store import Stage
from llm4grn.sweep.estimates import networks_of
from llm4grn.sweep.jobs import Job, to_download

UNSET = "http://unset.invalid"  # placeholder for unset variables, whose address is not checked again
TIMEOUT = 5.0  # seconds to wait for a connection
SPARE_BYTES = 2**30  # free disk space to leave beyond the estimate


class Problems:
    """Collection of one-line problems, each with the jobs that it concerns."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[int]] = {}

    def add(self, line: str, job: int) -> None:
        """Add a problem of a job; the same line from several jobs is one problem."""
        jobs = self._jobs.setdefault(line, [])
        if job not in jobs:
            jobs.append(job)

    def catch(self, job: int, check: Callable[[], object]) -> None:
        """Run a check of a job, and add the message of a UserError that it raises."""
        try:
            check()
        except UserError as error:
            self.add(" ".join(str(error).split()), job)

    def lines(self, n_jobs: int) -> list[str]:
        """Return each problem with its jobs, which are left out if it concerns all ``n_jobs``."""
        return [line if len(jobs) == n_jobs else f"{line} ({_job_list(jobs)})" for line, jobs in self._jobs.items()]

    def __bool__(self) -> bool:
        return bool(self._jobs)


def check_data(job: Job, problems: Problems) -> None:
    """Check that the files of the data set exist and are valid, or can be downloaded."""
    if job.setting is None:
        return
    source = job.setting.dataset.source
    address = to_download(source)
    if address is None:
        problems.catch(job.number, source.prepare)
    elif reason := _unreachable(address):
        problems.add(
            f"dataset={job.setting.dataset.name}: its files are not there, and {address} cannot be reached ({reason}); "
            "put them below paths.data by hand (see conf/dataset), or run this where there is a network",
            job.number,
        )


def check_llm(llm: LanguageModel, has_questions: bool) -> None:
    """Check that the key of a language model is set, and its address answers if there are questions for it.

    Raises
    ------
    UserError
        If the key is not set or the address cannot be reached.
    """
    key, address = (getattr(llm.chat, name, None) for name in ("api_key_env", "base_url"))
    if key is not None:
        read_key(key)
    for field in ("headers", "query"):
        read_values(getattr(llm.chat, field, None), field)
    if has_questions and address not in (None, UNSET) and (reason := _unreachable(address)):
        raise UserError(f"llm={llm.name}: {address} cannot be reached ({reason}); start the server, or set its address")


def check_disk(folders: Iterable[Path], needed: float, problems: Problems, jobs: Iterable[int]) -> None:
    """Check that each disk has room for the files to be written and ``SPARE_BYTES`` more.

    Parameters
    ----------
    folders
        Folders of the store and of the runs; they need not exist.
    needed
        Bytes to be written; 0 skips the check.
    problems
        Problems to add to.
    jobs
        Numbers of the jobs that a full disk would stop.
    """
    for folder in folders if needed else ():
        place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        free = shutil.disk_usage(place).free
        if free < needed + SPARE_BYTES:
            line = (
                f"{place}: {free / 2**30:.1f} GiB are free and about {(needed + SPARE_BYTES) / 2**30:.1f} GiB needed; "
                "free some, or set paths.store and paths.outputs to another disk"
            )
            for job in jobs:
                problems.add(line, job)


def check_gpu(free: Sequence[float], stages: Iterable[Stage], job: int, problems: Problems, sharing: int = 1) -> None:
    """Check that one of the GPUs has memory for each training of a job.

    Parameters
    ----------
    free
        Free bytes of each GPU; empty if unknown, which skips the check.
    stages
        Stages that the job has to run.
    job
        Number of the job.
    problems
        Problems to add to.
    sharing
        Number of jobs that train on one GPU at the same time.
    """
    needed = sharing * max((networks.gpu_bytes for stage in stages if (networks := networks_of(stage))), default=0.0)
    if free and needed > max(free):
        by = f" by the {sharing} jobs that share it" if sharing > 1 else ""
        remedy = "let fewer jobs run at once" if sharing > 1 else "end what else runs there"
        problems.add(
            f"trainer.accelerator=gpu: {max(free) / 2**30:.1f} GiB of GPU memory are free and about "
            f"{needed / 2**30:.1f} GiB needed{by}; {remedy}, or choose a smaller model or batch_size",
            job,
        )


@cache
def _unreachable(address: str) -> str | None:
    """Return why an address cannot be reached; None if it can, or if it is reached through a proxy."""
    parts = urlsplit(address)
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname or ""):
        return None
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 80)
    try:
        socket.create_connection((parts.hostname or "", port), TIMEOUT).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return None


def _job_list(jobs: Sequence[int]) -> str:
    """Format job numbers as ranges and single numbers.

    Examples
    --------
    >>> _job_list([0, 1, 2, 5])
    'jobs 0-2, 5'
    >>> _job_list([3])
    'job 3'
    """
    runs: list[list[int]] = []
    for job in jobs:
        if runs and runs[-1][-1] == job - 1:
            runs[-1].append(job)
        else:
            runs.append([job])
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"job{'s' if len(jobs) > 1 else ''} {text}"


def check_stages(pipeline: Pipeline, job: Job, problems: Problems) -> list[Stage] | None:
    """Return all stages of a job; None, with a problem added, if a file that their keys depend on cannot be read."""
    try:
        return pipeline.stages
    except UserError as error:
        problems.add(" ".join(str(error).split()), job.number)
    except OSError as error:
        problems.add(f"{error.filename}: cannot be read ({error.strerror}); check the path", job.number)
    return None
