"""Location of the YAML files, and the command line that starts each script."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_PACKAGE = Path(__file__).resolve().parents[1]
#: Folder of the YAML files: inside the package in a wheel, beside it in a checkout; ``multirun_sweeps`` is next to it.
CONF = next(folder / "conf" for folder in (_PACKAGE, _PACKAGE.parent) if (folder / "conf").is_dir())

# Environment variable that the command ``llm4grn`` sets, so that its child processes see it too.
_INSTALLED = "LLM4GRN_COMMAND"


def mark_as_installed() -> None:
    """Record that the user started ``llm4grn``, and not ``python train.py`` in a checkout."""
    os.environ[_INSTALLED] = "1"


def command_words(script: str) -> list[str]:
    """Return the command that starts a script, as a list of words.

    Examples
    --------
    >>> command_words("infer_grn")
    ['python', 'infer_grn.py']
    """
    return ["llm4grn", script.replace("_", "-")] if _INSTALLED in os.environ else ["python", f"{script}.py"]


def command_text(script: str) -> str:
    """Return `command_words` as one string, which the help texts insert by ``${command:infer_grn}``."""
    return " ".join(command_words(script))


def plain(node: Any) -> Any:
    """Return a config node as plain dictionaries, lists and values, with every interpolation resolved.

    Raises
    ------
    omegaconf.errors.OmegaConfBaseException
        If a value is missing or an interpolation leads nowhere.
    """
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)


OmegaConf.register_new_resolver("command", command_text, replace=True)
