"""Recognise failures of writing among the errors of any library."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from llm4grn.errors import WriteError

_FATAL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS}
# HDF5, PyTorch and SQLite put the reason into the text of errors of their own.
_TEXT = re.compile(
    r"No space left|File too large|Disk quota|Read-only file system|errno = (?:28|27|122|30)\b|Errno (?:28|27|122|30)\b"
    r"|disk is full|disk I/O error|PytorchStreamWriter failed writing",
    re.IGNORECASE,
)
_REMEDY = "free space there, or choose another folder, and run the same command again"


def write_failure(error: BaseException, path: Path | None = None) -> WriteError | None:
    """Return a `WriteError` of one line if an error, or one that caused it, is a failure of writing; else None.

    Parameters
    ----------
    error
        Any exception.
    path
        File that was being written, if that is known.

    Examples
    --------
    >>> print(str(write_failure(OSError(errno.ENOSPC, "No space left on device", "out/grn.tsv")))[:55])
    cannot write out/grn.tsv (No space left on device); fre
    >>> write_failure(KeyError("x")) is None
    True
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, WriteError):
            return current
        seen.add(id(current))
        reason = _reason(current)
        if reason is not None:
            place = path or getattr(current, "filename", None) or "a file"
            return WriteError(f"cannot write {place} ({reason}); {_REMEDY}")
        current = current.__cause__ or current.__context__
    if path is not None and isinstance(error, OSError) and not path.parent.is_dir():
        return WriteError(f"cannot write {path} (its folder is gone, or is no folder); {_REMEDY}")
    return None


def _reason(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno in _FATAL:
        return error.strerror or errno.errorcode[error.errno]
    match = _TEXT.search(str(error))
    known = isinstance(error, OSError | RuntimeError) or type(error).__module__ == "sqlite3"
    if match is None or not known:
        return None
    return {"errno = 28": "No space left on device", "errno = 27": "File too large"}.get(match[0], match[0])
