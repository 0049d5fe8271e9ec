"""Download and unpacking of a large file: atomic, resumable, one job at a time, with a progress bar."""

from __future__ import annotations

import gzip
import logging
import lzma
import os
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.errors import UserError

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

ATTEMPTS = 4  # maximum number of consecutive attempts without a new byte
BACKOFF_S = 0.5  # delay in seconds, doubled after each of them
TIMEOUT_S = (5, 60)  # seconds to connect, and between two chunks
_CHUNK = 1 << 16  # bytes; also the maximum loss by a dropped connection


class _DroppedError(Exception):
    """The connection ended early; another attempt may succeed."""


def download(url: str, path: Path, by_hand: str | None = None) -> None:
    """Download ``url`` to ``path``, resuming an earlier call from ``path`` + ``.part``.

    ``path`` is created by renaming once all bytes announced by the server are there. A lock file beside it makes a
    second job wait and then use the same file.

    Parameters
    ----------
    url
        Address of the file.
    path
        Output path.
    by_hand
        Instruction for users without a network, for the error message.

    Raises
    ------
    UserError
        If there is no network, the server does not send the file, or it cannot be written.
    """
    from llm4grn.runtime.locks import KernelLock

    by_hand = by_hand or f"fetch it elsewhere and save it as {path}, then run this again"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with KernelLock(path.with_name(path.name + ".lock")):
            if not path.exists():
                part = path.with_name(path.name + ".part")
                _fetch_all(url, part, by_hand)
                os.replace(part, path)
    except OSError as error:  # _fetch_all turns the errors of requests into UserError
        reason = error.strerror or error
        raise UserError(f"cannot write {path} ({reason}); free space there or choose another folder") from error


def _fetch_all(url: str, part: Path, by_hand: str) -> None:
    """Repeat requests until ``part`` is complete; attempts that bring new bytes are not counted."""
    import requests

    most, fruitless = _size(part), 0
    while True:
        try:
            return _fetch(url, part)
        except requests.HTTPError as error:
            raise UserError(f"cannot download {url} (the server says {error}); {by_hand}") from error
        except (requests.RequestException, _DroppedError) as error:
            fruitless = fruitless + 1 if _size(part) <= most else 0
            most = max(most, _size(part))
            if fruitless == ATTEMPTS or _unreachable(error):
                raise UserError(f"cannot download {url} ({_reason(error)}); {by_hand}") from error
            logger.warning("download of %s interrupted at %d bytes (%s): going on", url, _size(part), _reason(error))
            time.sleep(BACKOFF_S * 2**fruitless)


def _fetch(url: str, part: Path) -> None:
    """Request the bytes that ``part`` lacks once."""
    import requests

    offset = _size(part)
    # identity: with a compressed transfer, ranges and length would not be those of the file
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == 416:
            if response.headers.get("Content-Range", "") == f"bytes */{offset}":
                return
            part.unlink()
            raise _DroppedError("what was there does not belong to this file: starting anew")
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _DroppedError(f"the server says {response.status_code} {response.reason}")
        response.raise_for_status()
        if response.status_code != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            if response.status_code == 206:
                raise _DroppedError("the server sent another range than asked")
            offset = 0
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length else None
        _write(response, part, offset, total)
    if total is not None and _size(part) != total:
        raise _DroppedError(f"{_size(part)} of {total} bytes came")


def _write(response: requests.Response, part: Path, offset: int, total: int | None) -> None:
    from llm4grn.runtime.progress import progress

    desc = f"download {part.stem}"
    bar = progress(total=total, initial=offset, unit="B", unit_scale=True, unit_divisor=1024, desc=desc)
    with bar, part.open("ab" if offset else "wb") as file:
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def unpack(archive: Path, folder: Path, wanted: Collection[str], verify: Callable[[Path], None]) -> None:
    """Extract the ``wanted`` files of a tar archive, compressed or not, into ``folder``.

    Names are compared without a leading ``./`` and the top folder ``demo/``. The files are unpacked to a temporary
    folder, verified, and then moved one by one, so every file in ``folder`` is complete. Existing files are kept.

    Parameters
    ----------
    archive
        Path of the tar archive.
    folder
        Output folder, created if missing.
    wanted
        Names of the files to extract.
    verify
        Function that is called with the folder of the unpacked files and raises UserError if they are not as expected.

    Raises
    ------
    UserError
        If the file is not an intact tar archive, or ``verify`` raises it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack_") as aside:
        logger.info("unpacking %s into %s", archive, folder)
        try:
            with tarfile.open(archive, "r:*") as tar:
                members = [m for m in tar if m.isfile() and _plain_name(m.name) in wanted]
                tar.extractall(aside, members=members, filter=_without_top_folder)
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            reason = str(error).split("\n")[0].rstrip(":") or type(error).__name__
            raise UserError(f"{archive} is not a whole tar archive ({reason})") from error
        verify(Path(aside))
        for name in {_plain_name(m.name) for m in members}:
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(aside, name), folder / name)


def _plain_name(name: str) -> str:
    return name.removeprefix("./").removeprefix("demo/")


def _without_top_folder(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    return tarfile.data_filter(member.replace(name=_plain_name(member.name), deep=False), path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _unreachable(error: Exception) -> bool:
    """Return True if no connection was possible (no network, unknown host), so that another attempt is useless."""
    import requests
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    hopeless = isinstance(error, (requests.ConnectTimeout, ValueError))  # ValueError: an invalid URL
    return hopeless or isinstance(reason, NewConnectionError)


def _reason(error: Exception) -> str:
    inner = getattr(error.args[0], "reason", error) if error.args else error
    return " ".join(str(inner).split())[:160] or type(error).__name__
