"""The scripts in processes that begin with everything imported: seconds less than from nothing, of 2 to 10 each.

A server imports what the scripts import and forks itself for each start. What comes of it is a process like any other,
with its own memory, arguments, folder, environment and exit status, that can be killed. Only what a start from nothing
shows is not tested so: each script has a test of its own for that.

One thing differs: the RF AUROC has forests of 20 trees, because 1000 of them take longer than all else that a small run
does. ``python tests/warm.py SCRIPT ARGUMENT...`` is a start from nothing with the same forests.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
N_TREES = 20

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["warmed"])


class WarmProcess:
    """A script that runs; like :class:`subprocess.Popen` with pipes for text, as far as the tests need that.

    Parameters
    ----------
    script
        File name in the root of the repository.
    arguments
        What would be typed after it.
    cwd
        Folder to run in.
    environment
        All variables of the process.
    """

    def __init__(self, script: str, *arguments: str, cwd: Path, environment: Mapping[str, str]) -> None:
        ends = [_SERVER.Pipe(duplex=False) for _ in range(2)]
        command = [str(ROOT / script), *arguments]
        with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "tests"), str(ROOT)])):
            forkserver.ensure_running()
        self._process = _SERVER.Process(
            target=_run, args=(command, str(cwd), dict(environment), *(write for _, write in ends))
        )
        self._process.start()
        self.pid = self._process.pid
        self.stdout, self.stderr = (os.fdopen(os.dup(read.fileno())) for read, _ in ends)
        for end in (end for pair in ends for end in pair):
            end.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What it writes to stdout and stderr from here to its end; later than ``timeout`` it is killed."""
        too_late = threading.Timer(timeout, self.kill)
        too_late.start()
        try:
            with ThreadPoolExecutor(2) as pool, self.stdout, self.stderr:
                out, err = pool.map(lambda stream: stream.read(), (self.stdout, self.stderr))
            self._process.join()
        finally:
            too_late.cancel()
        return out, err


def _run(command: list[str], cwd: str, environment: dict[str, str], out: Connection, err: Connection) -> None:
    assert "warmed" in sys.modules  # the server is silent about what it cannot import
    for number, end in (1, out), (2, err):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    resource_tracker._resource_tracker._fd = None  # its own from here on, which tells of it and not of the tests
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    try:
        start(command)
    finally:  # the end of a Python program, which a process of multiprocessing has in another order
        threading._shutdown()
        atexit._run_exitfuncs()


def start(command: list[str]) -> None:
    """Run a script in this process, as ``python`` with these words after it would, but with small forests."""
    from llm4grn.metrics.functional import rf_auroc

    rf_auroc.__kwdefaults__["n_trees"] = N_TREES
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    start(sys.argv[1:])
