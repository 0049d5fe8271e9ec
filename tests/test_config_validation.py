"""Every value that a YAML sets is compared with the annotation of the field that takes it."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf
from pydantic import Field
from tiny import CONF, config

from llm4grn.cli.config import instantiate
from llm4grn.errors import UserError
from llm4grn.validation import Amount, NonNegative, Positive, PositiveFloat, Share, Text, _checks, check_fields


@dataclass(frozen=True)
class Everything:
    whole: Positive = 1
    from_zero: NonNegative = 0
    two: Annotated[int, Field(ge=2)] = 2
    amount: Amount = 0.5
    above: PositiveFloat = 0.5
    share: Share = 0.5
    flag: bool = True
    text: Text = "a"
    choice: Literal["a", "b"] = "a"
    several: Literal["a", "b", "c"] = "a"
    perhaps: Positive | None = None
    or_all: Literal["all"] | Positive = 1
    numbers: Sequence[int] = (1,)
    weights: Annotated[Mapping[str, PositiveFloat], Field(description="expected {NAME: weight}")] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "group", two="elsewhere.two")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("whole", 0, "group.whole=0: expected a whole number, 1 or more"),
        ("whole", True, "group.whole=True: expected a whole number, 1 or more"),
        ("whole", 1.0, "group.whole=1.0: expected a whole number, 1 or more"),
        ("whole", "1", "group.whole=1: expected a whole number, 1 or more"),
        ("whole", None, "group.whole=null: expected a whole number, 1 or more"),
        ("from_zero", -1, "group.from_zero=-1: expected a whole number, 0 or more"),
        ("two", 1, "elsewhere.two=1: expected a whole number, 2 or more"),
        ("amount", -0.5, "group.amount=-0.5: expected a number, 0 or more"),
        ("amount", float("inf"), "group.amount=inf: expected a number, 0 or more"),
        ("amount", float("nan"), "group.amount=nan: expected a number, 0 or more"),
        ("amount", True, "group.amount=True: expected a number, 0 or more"),
        ("above", 0, "group.above=0: expected a positive number"),
        ("share", 1.5, "group.share=1.5: expected a number from 0 to 1"),
        ("flag", 1, "group.flag=1: expected true or false"),
        ("text", " ", "group.text= : expected a text"),
        ("choice", "c", "group.choice=c: choose a or b"),
        ("several", "d", "group.several=d: choose one of a, b, c"),
        ("perhaps", 0, "group.perhaps=0: expected a whole number, 1 or more, or null"),
        ("or_all", "most", "group.or_all=most: expected one of all, or a whole number, 1 or more"),
        ("numbers", "12", "group.numbers=12: expected a list"),
        ("weights", 3, "group.weights=3: expected {NAME: weight}, or null"),
        ("weights", {"a": 0}, "group.weights.a=0: expected {NAME: weight}, or null"),
    ],
)
def test_says_field_value_and_what_is_expected(field, value, message):
    with pytest.raises(UserError) as raised:
        Everything(**{field: value})
    assert str(raised.value) == message


def test_lets_pass_what_fits():
    Everything(amount=1, numbers=[1, 2], perhaps=3, or_all="all", weights={"a": 2}, above=1)


OPTIONS = [
    (group, path.stem)
    for group in ("inferer", "kb", "model", "llm", "dataset")
    for path in sorted((CONF / group).glob("*.yaml"))
]


def _targets(node: Any):
    """Every node of a config that names a class, with the class."""
    if OmegaConf.is_dict(node):
        if (
            "_target_" in node
            and isinstance(node._target_, str)
            and not node._target_.endswith(("load", "curated_list"))
        ):
            yield get_class(node._target_)
        for name in node:
            if not OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, name):
                yield from _targets(node[name])


def test_every_class_of_the_yaml_files_checks_its_fields():
    """A class of plain values is checked by annotation, or says here why not."""
    of_files = {"CuratedList", "H5ad", "TenX", "TutorialArchive", "FileGRN"}  # paths, which they open at once
    by_hand = {*of_files, "NoPriorList"}  # two of its fields depend on one another
    classes = set()
    for group, option in OPTIONS:
        classes |= set(_targets(OmegaConf.load(CONF / group / f"{option}.yaml")))
    unchecked = {
        cls.__name__
        for cls in classes
        if hasattr(cls, "__dataclass_fields__") and _checks(cls) and not _is_checked(cls)
    }
    assert unchecked - by_hand == set()


def _is_checked(cls: type) -> bool:

    return any(
        "check_fields(" in inspect.getsource(base.__post_init__)
        for base in cls.__mro__
        if "__post_init__" in vars(base)
    )


@pytest.mark.parametrize("name", ["grnboost2", "genie3", "pidc", "correlation", "random"])
def test_no_wrong_kind_of_value_passes(name):
    method = instantiate(config(f"inferer={name}", name="infer_grn").inferer.method)
    for field in _checks(type(method)):
        with pytest.raises(UserError, match=rf"inferer\.{field}="):
            replace(method, **{field: object()})
