"""GRNBoost2 on the workers of a dask cluster, with importances that are bit-identical to those of threads.

Anyone who can reach a dask scheduler can run code on its workers and, through their results, in this process: use only
a scheduler that you trust. The local cluster listens on the loopback interface only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.inference.boosting.arrays import Columns
from llm4grn.inference.boosting.compiled import FINGERPRINT
from llm4grn.inference.boosting.engine import Problem, boost_targets
from llm4grn.inference.boosting.lanes import LANES
from llm4grn.runtime.progress import progress

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger("llm4grn")

_PATIENCE = 5  # seconds to wait for a scheduler's answer
_RESTART = 60  # seconds to wait for new workers once none is left
_FRUITLESS = 2  # consecutive rounds that may finish no chunk, each with the retries that the scheduler allows
# Large chunks fill the lanes better when only few targets are left; small chunks balance the load and cost less when
# a worker dies.
_CHUNKS_PER_THREAD = 4
_LARGEST_CHUNK = 8 * LANES
_OTHER_VERSION = (
    "inferer.backend=dask: scheduler or workers have no llm4grn or another version of it; install this version there"
)

Chunk = tuple[int, int, int]  # run, first target, first target of the next chunk


def boost_on_dask(problem: Problem, seeds: Sequence[int], scheduler: str | None, n_workers: int) -> np.ndarray:
    """Compute importances with each seed, shape (n_seeds, n_targets, n_tfs), with a progress bar over targets.

    The data are sent to every worker once. If a worker dies, other workers repeat its unfinished chunks of targets; if
    all die at once, the data are sent again to the workers that return.

    Parameters
    ----------
    problem, seeds
        As for :func:`~llm4grn.inference.boosting.engine.boost_on_threads`.
    scheduler
        Address of a running scheduler, ``tcp://host:port``, whose workers have this version of llm4grn; None for a
        local cluster that ends with the call, or with this process.
    n_workers
        Number of processes of the local cluster, with one thread each.

    Raises
    ------
    UserError
        If the scheduler does not answer or is lost, has no workers or workers of another version, or if workers keep
        dying.
    """
    importances = np.zeros((len(seeds), len(problem.owns), len(problem.columns.floors)))
    with connected(scheduler, n_workers) as client:
        left = set(_chunks(problem, len(seeds), sum(client.nthreads().values())))
        with progress(total=len(seeds) * len(problem.owns), desc="GRNBoost2", unit="target") as bar:
            fruitless = 0
            while fruitless < _FRUITLESS:
                n_left = len(left)
                for (run, start, stop), part in _finished(client, problem, seeds, left):
                    importances[run, start:stop] = part
                    left.remove((run, start, stop))
                    bar.update(stop - start)
                if not left:
                    return importances
                logger.warning("GRNBoost2: workers were lost; %d chunks of targets are computed again", len(left))
                fruitless = fruitless + 1 if len(left) == n_left else 0
    raise UserError(
        "inferer.backend=dask: workers die again and again; look at their logs, perhaps they lack memory for "
        f"{_megabytes(problem)} MB of data and {_LARGEST_CHUNK * 4 * problem.responses.shape[0] // 2**20} MB per thread"
    )


def _chunks(problem: Problem, n_runs: int, n_threads: int) -> Iterator[Chunk]:
    """Divide the targets into chunks of whole blocks, several per thread to balance the load."""
    n_targets = len(problem.owns)
    even = n_runs * n_targets / (_CHUNKS_PER_THREAD * max(n_threads, 1))
    size = LANES * round(np.clip(even, LANES, _LARGEST_CHUNK) / LANES)
    for run in range(n_runs):
        for start in range(0, n_targets, size):
            yield run, start, min(start + size, n_targets)


def _finished(
    client: Client, problem: Problem, seeds: Sequence[int], chunks: set[Chunk]
) -> Iterator[tuple[Chunk, np.ndarray]]:
    """Yield chunks and their importances, shape (chunk, n_tfs), as they finish; lost chunks are left out."""
    from distributed import as_completed

    try:
        client.wait_for_workers(1, timeout=_RESTART)
        (data,) = client.scatter([problem], broadcast=True, hash=False)
        submitted = {
            client.submit(_boost, data, FINGERPRINT, seeds[run], start, stop, pure=False): (run, start, stop)
            for run, start, stop in sorted(chunks)
        }
    except OSError as error:
        raise UserError("inferer.backend=dask: no worker is left, or the scheduler went; start them again") from error
    for future in as_completed(submitted, loop=client.loop):
        part = _result(future)
        chunk = submitted.pop(future)  # dropping the future frees the result on the worker
        if part is not None:
            yield chunk, part


def _result(future: Future) -> np.ndarray | None:
    """Return the result of a task; None if it was lost with its workers or with all that held the data."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        return future.result()
    except KilledWorker:
        return None
    except FutureCancelledError as error:
        if error.reason == "scheduler-connection-lost":
            raise UserError("inferer.backend=dask: the connection to the scheduler was lost; start again") from error
        return None


def _boost(problem: Problem, fingerprint: str, seed: int, start: int, stop: int) -> np.ndarray:
    """Compute on a worker the importances of some targets, shape (n, n_tfs)."""
    _require_engine(fingerprint)
    # Received arrays may be read-only, which is another type for numba and would trigger a compilation.
    columns = Columns(*(np.require(array, requirements=["C", "W"]) for array in problem.columns))
    return boost_targets(problem.part(start, stop)._replace(columns=columns), seed, n_threads=1)[0]


def _require_engine(fingerprint: str) -> None:
    """Raise UserError on a worker whose engine differs, so that no results of two versions are mixed."""
    if fingerprint != FINGERPRINT:
        raise UserError(_OTHER_VERSION)


def _megabytes(problem: Problem) -> int:
    arrays = [*problem.columns, problem.responses.data, problem.responses.indices]
    return sum(array.nbytes for array in arrays) // 2**20


# -- clusters


@contextmanager
def connected(scheduler: str | None, n_workers: int) -> Iterator[Client]:
    """Connect a client to the scheduler, or to a local cluster that ends with the block."""
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        stack.enter_context(_quiet_dask())
        if scheduler is not None:
            check_scheduler(scheduler)
            client = stack.enter_context(Client(scheduler, set_as_default=False))
            _check_version(client)
        else:
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else port 8787, which may be in use
                memory_limit=0,  # no limit, as with threads
            )
            client = stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))
        yield client


def _check_version(client: Client) -> None:
    """Raise UserError if the cluster lacks this version; :func:`_boost` checks workers that join later."""
    for run in client.run_on_scheduler, client.run:
        try:
            run(_require_engine, FINGERPRINT)
        except UserError:
            raise
        except Exception as error:  # an environment without this module can raise any exception
            raise UserError(f"{_OTHER_VERSION} ({' '.join(str(error).split())})") from error


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Restrict dask's log to warnings; it would report every connection."""
    log = logging.getLogger("distributed")
    level = log.level
    log.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        log.setLevel(level)


def check_scheduler(scheduler: str) -> None:
    """Raise UserError unless the address is a scheduler with workers; a client would wait a long time for one."""
    import asyncio

    from distributed import Security
    from distributed.core import connect, send_recv
    from distributed.utils import LoopRunner

    async def ask() -> dict:
        comm = await connect(scheduler, timeout=_PATIENCE, **Security().get_connection_args("client"))
        try:
            return await send_recv(comm, op="identity", reply=True)
        finally:
            comm.abort()

    async def ask_patiently() -> dict:
        return await asyncio.wait_for(ask(), _PATIENCE)

    where = f"inferer.scheduler={scheduler}"
    try:
        identity = LoopRunner(asynchronous=False).run_sync(ask_patiently)
    except Exception as error:  # a server of another kind can cause any exception
        reason = " ".join(str(error).split()) or "no answer"
        raise UserError(
            f"{where}: no dask scheduler answers there within {_PATIENCE} s ({reason}); "
            "give its address as tcp://host:port, or null for a cluster on this machine"
        ) from error
    if "workers" not in identity:
        raise UserError(
            f"{where}: that is a dask {identity.get('type', 'server').lower()}; give the scheduler's address"
        )
    if not identity["workers"]:
        raise UserError(f"{where}: a scheduler without workers; start some with: dask worker {scheduler}")
