"""Validation of config values."""

from __future__ import annotations

import math

from llm4grn.errors import UserError


def require_number(field: str, value: object, minimum: float, *, whole: bool = False, optional: bool = False) -> None:
    """Raise UserError unless ``value`` is a finite number >= ``minimum``.

    Parameters
    ----------
    field
        Name of the field as the user types it, for instance ``llm.timeout``.
    value
        Value of the field.
    minimum
        Smallest valid value.
    whole
        Whether the value must be an integer.
    optional
        Whether None is valid.

    Raises
    ------
    UserError
        If the value is invalid; the message names the field, its value and the expected values.
    """
    if optional and value is None:
        return
    kinds = int if whole else int | float
    # The type is checked first, as math.isfinite raises for values that are not numbers.
    if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value) or value < minimum:
        alternative = ", or null for no limit" if optional else ""
        raise UserError(f"{field}={value}: expected a {'whole ' * whole}number, {minimum:g} or more{alternative}")


def require_text(field: str, value: object, what: str, *, optional: bool = False) -> None:
    """Raise UserError unless ``value`` is a text that is not empty.

    Parameters
    ----------
    field
        Name of the field as the user types it, for instance ``llm.model``.
    value
        Value of the field.
    what
        Description of the text for the message: ``the name of the model at its server``.
    optional
        Whether None is valid.

    Raises
    ------
    UserError
        If the value is invalid; the message names the field, its value and the expected value.
    """
    if not (optional and value is None) and (not isinstance(value, str) or not value.strip()):
        raise UserError(f"{field}={value}: expected {what}{', or null' * optional}")
