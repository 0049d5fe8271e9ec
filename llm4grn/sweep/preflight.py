"""What would stop the jobs of a sweep, found before the first of them: one line per problem, all at once."""

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
from llm4grn.llm.openai.client import read_key
from llm4grn.pipeline import Pipeline
from llm4grn.store import Stage
from llm4grn.sweep.estimates import networks_of
from llm4grn.sweep.jobs import Job, to_download

UNSET = "http://unset.invalid"  # stands for what is missing, and is not to be missed a second time
TIMEOUT = 5.0  # seconds to answer at all
SPARE_BYTES = 2**30  # left over beside what stages like these took before


class Problems:
    """Lines, each once, with the jobs they concern."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[int]] = {}

    def add(self, line: str, job: int) -> None:
        jobs = self._jobs.setdefault(line, [])
        if job not in jobs:
            jobs.append(job)

    def catch(self, job: int, check: Callable[[], object]) -> None:
        """Run a check, and keep what it refuses."""
        try:
            check()
        except UserError as error:
            self.add(" ".join(str(error).split()), job)

    def lines(self, n_jobs: int) -> list[str]:
        """Each problem with its jobs; without them where it concerns all."""
        return [line if len(jobs) == n_jobs else f"{line} ({_list(jobs)})" for line, jobs in self._jobs.items()]

    def __bool__(self) -> bool:
        return bool(self._jobs)


def check_data(job: Job, problems: Problems) -> None:
    """The files of the data set are there and look right, or can be downloaded."""
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
    """Who is to be asked has a key in the environment, and an address that answers if there is anything to ask.

    Raises
    ------
    UserError
    """
    key, address = (getattr(llm.chat, name, None) for name in ("api_key_env", "base_url"))
    if key is not None:
        read_key(key)
    if has_questions and address not in (None, UNSET) and (reason := _unreachable(address)):
        raise UserError(f"llm={llm.name}: {address} cannot be reached ({reason}); start the server, or set its address")


def check_disk(folders: Iterable[Path], needed: float, problems: Problems, jobs: Iterable[int]) -> None:
    """Room for what is to be written, and some to spare, on each disk that is written to.

    Parameters
    ----------
    folders
        Of the store and of the runs; they need not exist.
    needed
        Bytes; 0 if nothing is to be written.
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
    """One of the GPUs has room for each training of a job.

    Parameters
    ----------
    free
        Bytes of each GPU; none if that is not known.
    stages
        That the job has to run.
    sharing
        Jobs that train there at the same time.
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
    """Why nobody answers there, None if somebody does or only a proxy would know."""
    parts = urlsplit(address)
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname or ""):
        return None
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 80)
    try:
        socket.create_connection((parts.hostname or "", port), TIMEOUT).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return None


def _list(jobs: Sequence[int]) -> str:
    """Jobs for people: ranges and single numbers.

    Examples
    --------
    >>> _list([0, 1, 2, 5])
    'jobs 0-2, 5'
    >>> _list([3])
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
    """All stages of a job; None if a file that decides their keys cannot be read."""
    try:
        return pipeline.stages
    except UserError as error:
        problems.add(" ".join(str(error).split()), job.number)
    except OSError as error:
        problems.add(f"{error.filename}: cannot be read ({error.strerror}); check the path", job.number)
    return None
