"""What the tests of everything that keeps answers begin with."""

import signal

import pytest

from llm4grn.llm.answers_cache.cache import AnswerCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.fixture
def cache(path):
    with AnswerCache(path) as cache:
        yield cache


@pytest.fixture(autouse=True)
def no_test_waits_for_ever(request):
    """A claim that is never released, or a server that never answers, fails its test after a minute and a half."""

    def fails(*_):
        raise TimeoutError(f"{request.node.nodeid} has waited for 90 seconds")

    before = signal.signal(signal.SIGALRM, fails)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
