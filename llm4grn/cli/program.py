"""How this program is called, and where its YAML files lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_PACKAGE = Path(__file__).resolve().parents[1]
#: The YAML files: inside the package of a wheel, beside that of a checkout. ``multirun_sweeps`` lies next to them.
CONF = next(folder / "conf" for folder in (_PACKAGE, _PACKAGE.parent) if (folder / "conf").is_dir())

#: Set by the command ``llm4grn``, for the processes that it starts as well.
_INSTALLED = "LLM4GRN_COMMAND"


def called_as_installed() -> None:
    """Remember that the user typed ``llm4grn``, and not ``python train.py`` in a checkout."""
    os.environ[_INSTALLED] = "1"


def words(script: str) -> list[str]:
    """Return what a user types to start a script.

    Examples
    --------
    >>> words("infer_grn")
    ['python', 'infer_grn.py']
    """
    return ["llm4grn", script.replace("_", "-")] if _INSTALLED in os.environ else ["python", f"{script}.py"]


def typed(script: str) -> str:
    """Return `words` as one string; the help texts have it as ``${command:infer_grn}``."""
    return " ".join(words(script))


def plain(node: Any) -> Any:
    """Return a node of a config as plain dictionaries, lists and values, every interpolation resolved.

    Raises
    ------
    omegaconf.errors.OmegaConfBaseException
        If a value is missing or an interpolation leads nowhere.
    """
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)


OmegaConf.register_new_resolver("command", typed, replace=True)
