"""Resolvers of the fields that change how a language model is asked: another description, and names in tables."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from llm4grn.cli.members import repository
from llm4grn.errors import UserError

_WITHOUT = "none"


def described_as(context: object) -> str | None:
    """Return the description of the data that ``llm.context`` asks for; the YAML files call this as ``context_of``.

    Parameters
    ----------
    context
        None for the data set's own, ``none`` for an empty one, or the name of an option of the config group
        ``dataset``, whose description is used.

    Raises
    ------
    UserError
        If there is no such data set.
    """
    if context is None:
        return None
    if context == _WITHOUT:
        return ""
    known = repository().get_group_options("dataset")
    if context not in known:
        raise UserError(
            f"llm.context={context}: expected null, none, or the data set whose description is used instead: "
            f"{', '.join(known)}"
        )
    result = repository().load_config(f"dataset/{context}")
    assert result is not None  # get_group_options named it
    fields: Any = OmegaConf.to_container(result.config)
    return str(fields.get("dataset", fields)["context"])


def label(name: str, context: str | None, anonymise: object) -> str:
    """Return the name of a language model in tables, with what is changed in its questions, as resolver ``llm_label``.

    Examples
    --------
    >>> label("gpt4", None, False), label("gpt4", "none", False), label("gpt4", "pbmc", True)
    ('gpt4', 'gpt4 without context', 'gpt4 context pbmc anonymised')
    """
    parts = [name]
    if context is not None:
        parts.append("without context" if context == _WITHOUT else f"context {context}")
    return " ".join([*parts, "anonymised"] if anonymise is True else parts)


OmegaConf.register_new_resolver("context_of", described_as, replace=True)
OmegaConf.register_new_resolver("llm_label", label, replace=True)
