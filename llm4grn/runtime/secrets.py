"""Remove keys, passwords and logins from everything that is written to disk about a run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, TypeVar

Values = TypeVar("Values")

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SHORTEST = 8  # shorter values are ordinary words, as in KEYBOARD=us
_HIDDEN = "***"


def without_secrets(values: Values, environment: Mapping[str, str] = os.environ) -> Values:
    """Return a copy with logins in addresses and the values of secret environment variables replaced by ``***``.

    Parameters
    ----------
    values
        Nested mappings and lists of plain values; tuples become lists.
    environment
        Environment variables; those whose names contain KEY, TOKEN, SECRET or PASSWORD are secret.

    Examples
    --------
    >>> without_secrets({"base_url": "https://me:mine@host/v1", "header": ["Bearer abcdefgh"]}, {"MY_KEY": "abcdefgh"})
    {'base_url': 'https://***@host/v1', 'header': ['Bearer ***']}
    """
    named = [value for name, value in environment.items() if _NAMES.search(name) and len(value) >= _SHORTEST]
    secrets = [value for value in named if not os.path.exists(value)]  # the path of a key file is not secret
    hidden: Values = _hide(values, sorted(secrets, key=len, reverse=True))
    return hidden


def _hide(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _hide(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hide(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _HIDDEN)
        return _LOGIN.sub(_HIDDEN, value)
    return value
