"""Paths with odd letters: the message shows what to type, and that works; ``~`` works everywhere."""

import os
import shlex

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from tiny import CONF

from llm4grn.cli.errors import one_line, quoted
from llm4grn.cli.main import _prepared

ODD = ["a (1).h5ad", "x=1.h5ad", "[a]b.h5ad", "a#1.h5ad", "it's.h5ad", 'a"b.h5ad', "ü.h5ad", "a{b}.h5ad", "a&b;c!.h5ad"]


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("infer_grn", list(overrides))


@pytest.mark.parametrize("path", ODD)
def test_what_the_message_shows_works(path):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed("dataset=file", f"dataset.path=data/{path}x(1)")
    shown = one_line(caught.value).partition("type ")[2]
    (word,) = shlex.split(shown)
    assert composed("dataset=file", word).dataset.path == f"data/{path}x(1)"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$"), min_size=1))
def test_any_text_can_be_quoted(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (word,) = shlex.split(quoted(f"dataset.path={text}"))
    assert OverridesParser.create().parse_override(word).value() == text


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("dataset=my.h5ad", "dataset=file dataset.path=my.h5ad"),
        ("dataset=/data/my.h5ad", "dataset=file dataset.path=/data/my.h5ad"),
        ("kb=tfs.txt", "kb.path=tfs.txt"),
        ("inferer=net.tsv", "inferer=file inferer.path=net.tsv"),
    ],
)
def test_a_file_as_an_option_is_answered_with_the_command_that_was_meant(option, meant):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed(option)
    assert one_line(caught.value).endswith(f"write {meant}")


def test_home_and_queries_are_prepared_for_hydra():
    home = os.path.expanduser("~")
    assert _prepared("paths.outputs=~/out") == f"paths.outputs={home}/out"
    assert _prepared("run='~/out'") == f"run='{home}/out'"
    assert _prepared("dataset.path=~") == f"dataset.path={home}"
    for word in ("~dataset.context", "a=b~/c", "seed=1", 'dataset.subset="n > 3"'):
        assert _prepared(word) == word
    query = composed("dataset=file", "dataset.path=x", _prepared("dataset.subset=cell_type == 'B' and n in [1, 2]"))
    assert query.dataset.subset == "cell_type == 'B' and n in [1, 2]"
