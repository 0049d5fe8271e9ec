"""What is written down about a run holds no key, wherever the user put it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, TypeVar

Values = TypeVar("Values")

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SHORTEST = 8  # shorter values are words, as in KEYBOARD=us
_HIDDEN = "***"


def without_secrets(values: Values, environment: Mapping[str, str] = os.environ) -> Values:
    """A copy without logins in addresses, and without the values of variables whose name speaks of a secret.

    Parameters
    ----------
    values
        Nested mappings and lists.
    environment
        To look for secrets in.

    Examples
    --------
    >>> without_secrets({"base_url": "https://me:mine@host/v1", "header": ["Bearer abcdefgh"]}, {"MY_KEY": "abcdefgh"})
    {'base_url': 'https://***@host/v1', 'header': ['Bearer ***']}
    """
    named = [value for name, value in environment.items() if _NAMES.search(name) and len(value) >= _SHORTEST]
    secrets = [value for value in named if not os.path.exists(value)]  # a file with a key is no key
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
