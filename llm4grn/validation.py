"""Values of the configuration, checked by the annotations of the classes that take them.

A field says in its annotation what it may be: ``Annotated[int, Field(ge=1)]``, ``Literal["pearson", "spearman"]``.
pydantic compares values with annotations, strictly, and :func:`check_fields` says in one line what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from llm4grn.errors import UserError

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=1e-3, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=1, allow_inf_nan=False)]  # per minute
Text = Annotated[str, Field(pattern=r"\S", description="expected a text")]
FilePath = Annotated[str, Field(pattern=r"\S", description="expected the path of a file")]
_PLAIN = (bool, int, float, str, NoneType)


def check_fields(instance: Any, prefix: str, **names: str) -> None:
    """Raise UserError for the first field of a dataclass whose value is not what its annotation says.

    Only fields of plain values are looked at: numbers, texts, choices, and lists and mappings of these. Nothing is
    converted: 1 is no text, "1" no number, and true no 1.

    Parameters
    ----------
    instance
        Dataclass instance; call this from its ``__post_init__``.
    prefix
        Where its fields are in the configuration, for instance ``inferer``.
    **names
        Full names of fields that are elsewhere, for instance ``k="graph.k"``.

    Raises
    ------
    UserError
        With the field's name in the configuration, its value and what is expected.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Forest:
    ...     n_trees: Annotated[int, Field(ge=1)] = 100
    >>> check_fields(Forest(n_trees=0), "inferer")
    Traceback (most recent call last):
    llm4grn.errors.UserError: inferer.n_trees=0: expected a whole number, 1 or more
    """
    for name, (adapter, expected) in _checks(instance.__class__).items():
        value = getattr(instance, name)
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError as error:
            path, shown = names.get(name, f"{prefix}.{name}"), value
            if isinstance(value, Mapping) and (key := error.errors()[0]["loc"]):
                path, shown = f"{path}.{key[0]}", value.get(key[0])
            raise UserError(f"{path}={'null' if shown is None else shown}: {expected}") from error


@cache
def _checks(cls: type[Any]) -> dict[str, tuple[TypeAdapter[Any], str]]:
    """Validator and description of each field of plain values."""
    checks = {}
    for field in fields(cls):
        annotation = _annotation(cls, field.name)
        if annotation is not None and _is_plain(annotation):
            checks[field.name] = TypeAdapter(annotation), _expected(annotation)
    return checks


def _annotation(cls: type, name: str) -> Any:
    """What a field is annotated with; None for a class that is imported for type checkers only."""
    owner = next(base for base in cls.__mro__ if name in get_annotations(base))
    text = get_annotations(owner)[name]
    if not isinstance(text, str):
        return text
    try:
        return eval(text, vars(sys.modules[owner.__module__]))
    except NameError:
        return None


def _is_plain(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Literal:
        return True
    if origin is Annotated:
        return _is_plain(get_args(annotation)[0])
    if origin in (Union, UnionType, Sequence, Mapping, tuple, list, dict):
        return all(part is Ellipsis or part is Any or _is_plain(part) for part in get_args(annotation))
    return annotation in _PLAIN


def _expected(annotation: Any) -> str:
    """What a user is told to give."""
    if get_origin(annotation) is Literal:
        return f"choose {_listed(get_args(annotation))}"
    described = _described(annotation)
    return described if described.startswith("expected ") else f"expected {described}"


def _described(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(parts[0], parts[1:])
    if origin is Literal:
        return _listed(parts)
    if origin in (Union, UnionType):
        return ", or ".join(_described(part) for part in parts)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}
    return names.get(annotation, "a list")


def _bounded(kind: Any, annotated: Sequence[Any]) -> str:
    metadata: list[Any] = []
    for part in annotated:
        if isinstance(part, FieldInfo):
            if part.description:
                return part.description
            metadata += part.metadata
        else:
            metadata.append(part)
    bounds = {key: getattr(part, key) for part in metadata for key in ("ge", "gt", "le", "lt") if hasattr(part, key)}
    described = _described(kind)
    if "ge" in bounds and "le" in bounds:
        return f"{described} from {bounds['ge']:g} to {bounds['le']:g}"
    if "ge" in bounds:
        return f"{described}, {bounds['ge']:g} or more"
    return described.replace("a ", "a positive ", 1) if bounds.get("gt") == 0 else described


def _listed(choices: Sequence[Any]) -> str:
    return " or ".join(choices) if len(choices) == 2 else f"one of {', '.join(map(str, choices))}"
