"""What the tests of everything that keeps answers begin with."""

import pytest

from llm4grn.llm.cache import AnswerCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.fixture
def cache(path):
    with AnswerCache(path) as cache:
        yield cache
