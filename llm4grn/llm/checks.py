"""Values from a config, looked at before anything is done with them."""

from __future__ import annotations

import math

from llm4grn.errors import UserError


def require_number(field: str, value: object, least: float, *, whole: bool = False, optional: bool = False) -> None:
    """Refuse what is no finite number of at least ``least``.

    Parameters
    ----------
    field
        As the user types it, for instance ``llm.timeout``.
    whole
        Whether only whole numbers will do.
    optional
        Whether None will do.

    Raises
    ------
    UserError
        Naming the field, its value and what is expected.
    """
    if optional and value is None:
        return
    kinds = int if whole else int | float
    # What is not a number is refused first: math.isfinite would raise.
    if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value) or value < least:
        alternative = ", or null for no limit" if optional else ""
        raise UserError(f"{field}={value}: expected a {'whole ' * whole}number, {least:g} or more{alternative}")


def require_text(field: str, value: object, what: str, *, optional: bool = False) -> None:
    """Refuse what is no text, or an empty one.

    Parameters
    ----------
    what
        What the text is, for the message: ``the name of the model at its server``.

    Raises
    ------
    UserError
        Naming the field, its value and what is expected.
    """
    if not (optional and value is None) and (not isinstance(value, str) or not value.strip()):
        raise UserError(f"{field}={value}: expected {what}{', or null' * optional}")
