"""Locks that no crash leaves behind."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest
from filelock import Timeout

from llm4grn.errors import UserError
from llm4grn.runtime.locks import KernelLock


def test_a_killed_holder_leaves_no_lock(tmp_path):
    path = tmp_path / "x.lock"
    code = (
        f"from llm4grn.runtime.locks import KernelLock; lock = KernelLock({str(path)!r}); lock.acquire()\n"
        "print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Timeout):
        KernelLock(path).acquire(timeout=0)
    holder.kill()
    holder.wait()
    with KernelLock(path).acquire(timeout=5):
        assert path.exists()


@pytest.mark.parametrize("missing", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch, missing):
    def flock(*args):
        raise OSError(missing, os.strerror(missing))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=r"x\.lock: this file system has no locks .* paths\.outputs"):
        KernelLock(tmp_path / "x.lock").acquire()


def test_other_errors_stay_what_they_are(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        KernelLock(tmp_path / "file" / "x.lock").acquire()
