"""Over dask: the importances of threads to the last bit, whoever dies on the way."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import scipy.sparse as sp
from cells import TFS, driven_cells
from distributed import Client, LocalCluster

from llm4grn.errors import UserError
from llm4grn.inference.boosting.dask import boost_on_dask
from llm4grn.inference.boosting.engine import boost_on_threads, prepare
from llm4grn.inference.grnboost2 import GRNBoost2

N_CELLS, N_TFS, N_TARGETS = 4000, 40, 200
SEEDS = range(8)  # seconds of work: a worker that is killed at once is killed in the midst of it


@pytest.fixture(scope="module")
def problem():
    """Some targets are TFs."""
    rng = np.random.default_rng(0)
    tfs = rng.poisson(rng.gamma(0.5, 1.0, N_TFS) + 0.1, (N_CELLS, N_TFS)).astype(float)
    targets = rng.poisson(0.3, (N_CELLS, N_TARGETS)).astype(float)
    targets[:, :N_TFS] += tfs
    targets[:, N_TFS : N_TFS + 10] = tfs[:, :10]
    owns = np.full(N_TARGETS, -1)
    owns[N_TFS : N_TFS + 10] = np.arange(10)
    return prepare(sp.csc_matrix(tfs), sp.csc_matrix(targets), owns)


@pytest.fixture(scope="module")
def expected(problem):
    return boost_on_threads(problem, SEEDS, 1)


def start_cluster(n_workers: int) -> LocalCluster:
    quiet = {"scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}, "silence_logs": logging.CRITICAL}
    return LocalCluster(
        n_workers=n_workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0, **quiet
    )


@pytest.fixture(scope="module")
def cluster():
    with start_cluster(2) as cluster:
        yield cluster


def workers(address: str) -> list[int]:
    """Process ids of both workers; those that an earlier test killed are on their way back."""
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        return list(client.run(os.getpid).values())


class Killing(threading.Thread):
    """Kills some workers as soon as each of them is at work."""

    def __init__(self, address: str, n_workers: int) -> None:
        super().__init__()
        self.address, self.n_workers, self.killed = address, n_workers, 0
        self.victims = workers(address)[:n_workers]

    def run(self) -> None:
        with Client(self.address, set_as_default=False) as client:
            deadline = time.monotonic() + 30
            while not all(any("_boost" in key for key in tasks) for tasks in client.processing().values()):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.1)
        for pid in self.victims:
            os.kill(pid, signal.SIGKILL)
            self.killed += 1


@pytest.mark.slow
@pytest.mark.parametrize("n_killed", [0, 1, 2])
def test_it_is_bit_identical_to_threads_whoever_is_killed(problem, expected, cluster, n_killed, capfd, caplog):
    killing = Killing(cluster.scheduler_address, n_killed)
    killing.start()
    importances = boost_on_dask(problem, SEEDS, cluster.scheduler_address, 1)
    killing.join()
    assert killing.killed == n_killed
    np.testing.assert_array_equal(importances, expected)
    assert ("workers were lost" in caplog.text) == (n_killed == 2)  # with one left, dask itself sees to it
    assert f" {len(SEEDS) * N_TARGETS}/{len(SEEDS) * N_TARGETS} " in capfd.readouterr().err


@pytest.mark.slow
def test_a_cluster_of_its_own_gives_the_same_network_and_leaves_no_process(capfd):
    adata = driven_cells()
    before = {child.pid for child in psutil.Process().children()}
    grn = GRNBoost2(n_jobs=2, n_seeds=2, backend="dask").infer(adata, None, 7)
    expected = GRNBoost2(n_jobs=1, n_seeds=2).infer(adata, None, 7)
    assert grn.edges.equals(expected.edges)
    assert grn.provenance == expected.provenance
    err = capfd.readouterr().err
    assert "GRNBoost2: 100%" in err
    assert "distributed" not in err
    assert {child.pid for child in psutil.Process().children()} <= before


PARENT = """
import os
from llm4grn.inference.boosting.dask import connected

if __name__ == "__main__":
    with connected(None, 2) as client:
        print(*client.run(os.getpid).values(), flush=True)
        input()
"""


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(script)], env=paths, text=True, **pipes) as parent:
        ids = [int(word) for word in parent.stdout.readline().split()]
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(ids) == 2
        assert {child.pid for child in family} > {*ids}
        parent.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs(family, timeout=15)[1]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("llm4grn.inference.boosting.dask._PATIENCE", 1)


@pytest.fixture(params=[None, b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100])
def no_scheduler(request):
    """The address of a server that says nothing, or something else."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if request.param:
                    connection.sendall(request.param)
                connections.append(connection)

        connections = []
        threading.Thread(target=answer, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


def refuse(address: str, reason: str, capfd) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=f"inferer.scheduler={re.escape(address)}: {reason}") as caught:
        GRNBoost2(backend="dask", scheduler=address).infer(driven_cells(), TFS, 7)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_server_of_another_kind_is_refused_within_seconds(no_scheduler, impatient, capfd):
    refuse(no_scheduler, "no dask scheduler answers", capfd)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://127.0.0.1", "http://127.0.0.1:80", "tls://a:1", "x:y"])
def test_an_address_where_nobody_listens_is_refused_within_seconds(address, impatient, capfd):
    refuse(address, "no dask scheduler answers", capfd)


@pytest.mark.slow
def test_a_scheduler_without_workers_is_refused(capfd):
    with start_cluster(0) as empty:
        refuse(empty.scheduler_address, "a scheduler without workers", capfd)


@pytest.mark.slow
def test_a_worker_is_no_scheduler(cluster, capfd):
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        address = next(iter(client.nthreads()))
    refuse(address, "that is a dask worker", capfd)


@pytest.mark.slow
def test_workers_of_another_version_are_refused(problem, cluster, monkeypatch):
    monkeypatch.setattr("llm4grn.inference.boosting.dask.FINGERPRINT", "of another version")
    with pytest.raises(UserError, match="no llm4grn or another version"):
        boost_on_dask(problem, [0], cluster.scheduler_address, 1)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"backend": "mpi"}, "backend=mpi"),
        ({"backend": "dask", "engine": "arboreto"}, "backend=dask"),
        ({"scheduler": "tcp://127.0.0.1:8786"}, "scheduler=tcp://127.0.0.1:8786"),
    ],
)
def test_impossible_settings_are_refused(settings, named):
    with pytest.raises(UserError, match=f"inferer.{named}: "):
        GRNBoost2(**settings)


def test_where_it_runs_is_no_part_of_what_it_is():
    assert GRNBoost2(backend="dask", scheduler="tcp://127.0.0.1:8786", n_jobs=3) == GRNBoost2()
