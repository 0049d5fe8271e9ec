"""Questions and answers as JSON Lines, the format for exporting, importing and recording answers."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, NoReturn

from llm4grn.errors import UserError
from llm4grn.llm.messages import Reply, Request
from llm4grn.store import atomic_write

Record = tuple[Request, Reply, str | None]

_REPLY = [field.name for field in fields(Reply)]
_REQUIRED = ("messages", "text")
_GZIP = b"\x1f\x8b"  # first bytes of every gzip file, and of no JSON text


def read_jsonl(path: str | Path) -> Iterator[Record]:
    """Read questions and answers from a JSON Lines file, with the time of each answer or None.

    Each line is an object. ``messages`` and ``text`` are required; ``model`` ("" if missing), ``parameters`` ({}),
    ``sample`` (0), the other fields of `Reply` (None means not recorded) and ``time`` (ISO 8601, UTC) are optional.
    Empty lines are skipped. The file may be compressed with gzip, whatever its name.

    Raises
    ------
    UserError
        If the file cannot be read or decompressed, or a line is not such an object; the message has the line number.
    """
    number = 0
    try:
        # Binary mode, so that the number of a line that cannot be decoded is known.
        with Path(path).open("rb") as raw, _unpacked(raw) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse(line, f"{path}, line {number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path}, after line {number}: damaged gzip ({error}); get the file again, or pack it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a JSON Lines file of answers") from error


def write_jsonl(path: str | Path, records: Iterable[Record]) -> int:
    """Write records atomically to a file that `read_jsonl` reads; return the number of lines.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    count = 0
    try:
        with atomic_write(path) as temporary, temporary.open("w") as file:
            for request, reply, time in records:
                # Recordings are shared, and the address of a server is nobody else's business.
                optional = {**asdict(reply), "server": None, "time": time}
                line = request.description | {name: value for name, value in optional.items() if value is not None}
                file.write(json.dumps(line, allow_nan=False) + "\n")
                count += 1
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose a writable folder") from error
    return count


def _unpacked(file: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    """Return a reader for an open file, which may be compressed with gzip."""
    begin = file.read(len(_GZIP))
    file.seek(0)
    return gzip.open(file) if begin == _GZIP else file


def _parse(line: bytes, where: str) -> Record:
    try:
        record = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse)
        _check(record)
        request = Request(
            record.get("model", ""), record["messages"], record.get("parameters", {}), record.get("sample", 0)
        )
        _ = request.key  # raises ValueError for a number beyond the range of floats
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 text; expected a JSON object with messages and text") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: {error}; expected a JSON object with messages and text") from error
    return request, Reply(**{name: record[name] for name in _REPLY if name in record}), record.get("time")


def _check(record: object) -> None:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    missing = [name for name in _REQUIRED if name not in record]
    if missing:
        raise ValueError(f"the field {missing[0]} is missing")
    for name, value in record.items():
        if name not in _FIELDS:
            raise ValueError(f"unknown field {name[:40]!r}, known are {', '.join(_FIELDS)}")
        valid, expected = _FIELDS[name]
        if not valid(value):
            raise ValueError(f"{name} must be {expected}, not {json.dumps(value)[:60]}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_conversation(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(message, dict)
            and {"role", "content"} <= message.keys()
            and all(isinstance(part, str) for part in message.values())
            for message in value
        )
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).utcoffset() == timedelta(0)
    except (TypeError, ValueError):
        return False


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (_is_word, "a name"),
    "messages": (_is_conversation, "a list of objects with role and content, both text"),
    "parameters": (lambda value: isinstance(value, dict), "an object"),
    "sample": (_is_count, "a whole number from 0"),
    "text": (lambda value: isinstance(value, str), "text"),
    "prompt_tokens": (_is_count, "a whole number from 0"),
    "completion_tokens": (_is_count, "a whole number from 0"),
    "latency": (_is_amount, "a number from 0"),
    "finish_reason": (_is_word, "a word"),
    "cost": (_is_amount, "a number from 0"),
    "cached_tokens": (_is_count, "a whole number from 0"),
    "reasoning_tokens": (_is_count, "a whole number from 0"),
    "served_model": (_is_word, "a name"),
    "lost": (_is_amount, "a number from 0"),
    "adapted": (_is_word, "a line of text"),
    "time": (_is_time, "a time in UTC such as 2025-01-31T12:00:00+00:00"),
}
