"""The client against a real server that misbehaves: every question answered once, every fatal error one clear line."""

import asyncio
import logging
import time
from collections import defaultdict

import pytest
from server import RETRYABLE, running_server

from llm4grn.errors import UserError
from llm4grn.llm.messages import Request
from llm4grn.llm.openai.chat import OpenAIChat

KEY = "sk-secret-0123456789"
GENES = "GATA1, SPI1, PAX5, CD3D, ACTB"


def question(i=0, **parameters):
    return Request("test-model", [{"role": "user", "content": f"Question {i}\nGenes: {GENES}"}], parameters)


def complete(chat, *requests):
    """The replies, or the first error."""

    async def ask():
        async with chat:
            return await asyncio.gather(*map(chat.complete, requests))

    return asyncio.run(ask())


def refused(chat, request=None):
    """The line a user reads; nothing that came from the server hangs on to it."""
    with pytest.raises(UserError) as caught:
        complete(chat, request or question())
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "\n" not in str(error)
    assert KEY not in str(error)
    assert len(str(error)) < 600
    return str(error)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


# ---------------------------------------------------------------- what is tried again


@pytest.mark.slow
def test_300_questions_to_a_server_that_fails_in_30_percent_are_each_answered_once():
    # A date has whole seconds only, and holds back all: it has a test of its own.
    kinds = ",".join(kind for kind in RETRYABLE if kind != "rate_limit_date")
    with running_server(faults=f"{kinds}@0.3", retry_after=0.02, latency=0.005) as server:
        # A second is enough for an answer on a busy machine: one that comes late would be asked for again.
        chat = OpenAIChat(server.url, timeout=1.0, max_retries=12, max_concurrency=32, backoff=0.02)
        replies = complete(chat, *map(question, range(300)))
        stats, successes = server.stats(), server.successes()
    assert all("<Answer> [" in reply.text for reply in replies)
    assert len(successes) == 300
    assert set(successes.values()) == {1}
    assert stats["did"].keys() == {"answer", *kinds.split(",")}  # each kind did happen
    assert stats["requests"] > 350
    assert 8 < stats["most_at_once"] <= 32  # side by side, and no more than allowed


@pytest.mark.parametrize("fault", [kind for kind in RETRYABLE if kind != "rate_limit_date"])
def test_each_kind_of_failure_is_tried_again(fault):
    with running_server(faults=fault, clean_after=2) as server:
        [reply] = complete(OpenAIChat(server.url, timeout=1.0, max_retries=2, backoff=0.01), question())
        assert "<Answer>" in reply.text
        assert [event["did"] for event in server.events()] == [fault, fault, "answer"]


@pytest.mark.parametrize("fault", ["rate_limit", "rate_limit_ms"])
def test_what_the_server_asks_to_wait_is_waited_by_all(fault):
    with running_server(faults=f"{fault}@0.3", clean_after=1, retry_after=0.3) as server:
        complete(OpenAIChat(server.url, max_concurrency=2, backoff=0.001), *map(question, range(12)))
        events = server.events()
    attempts = defaultdict(list)
    for event in events:
        attempts[event["question"]].append(event["time"])
    again = [times for times in attempts.values() if len(times) > 1]
    assert again
    assert all(second - first >= 0.3 for first, second in again)
    # The other request may be under way already, but the one after it is not sent during the wait.
    for i, event in enumerate(events[:-2]):
        if event["did"] == fault:
            assert events[i + 2]["time"] - event["time"] >= 0.29


def test_a_date_to_wait_for_is_waited_for():
    with running_server(faults="rate_limit_date", clean_after=1, retry_after=0.5) as server:
        complete(OpenAIChat(server.url, backoff=0.001), question())
        first, second = (event["time"] for event in server.events())
    assert 0.5 <= second - first < 2


def test_a_wait_of_hours_is_not_waited_for():
    with running_server(faults="long_wait") as server:
        assert "told to wait 24.0 h" in refused(OpenAIChat(server.url))
        assert server.stats()["requests"] == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("server_error", "Error code: 500 - The server had an error"),
        ("hang", "no answer within 0.1 s"),
        ("truncated", "not of the protocol"),
        ("drop_before", "no connection: RemoteProtocolError"),
        ("echo_key_500", r"authorization Bearer \*\*\*"),
    ],
)
def test_when_all_attempts_fail_it_says_how_often_and_why(fault, reason):
    with running_server(faults=fault) as server:
        message = refused(OpenAIChat(server.url, timeout=0.1, max_retries=2, backoff=0.001))
        assert server.stats()["requests"] == 3
    assert f"llm.model=test-model at {server.url}: no answer after 3 attempts" in message
    assert reason.replace("\\", "") in message
    assert "answers so far are kept" in message


def test_without_a_server_it_says_so():
    with running_server() as server:
        pass
    message = refused(OpenAIChat(server.url, max_retries=0))
    assert f"at {server.url}: no answer after 1 attempt, the last time for this reason: no connection" in message


def test_a_server_that_drips_is_a_time_out_too():
    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(200):
            writer.write(b" ")
            await asyncio.sleep(0.02)

    async def ask():
        listener = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        async with asyncio.timeout(3), OpenAIChat(url, timeout=0.2, max_retries=0) as chat:
            await chat.complete(question())

    started = time.monotonic()
    with pytest.raises(UserError, match=r"no answer within 0\.2 s"):
        asyncio.run(ask())
    assert time.monotonic() - started < 2


# ---------------------------------------------------------------- what is not


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unauthorized", "refuses the key in the environment variable OPENAI_API_KEY (401)"),
        ("forbidden", "refuses the key in the environment variable OPENAI_API_KEY (403)"),
        ("payment", "no credit or quota left (402)"),
        ("quota", "no credit or quota left (429)"),
        ("unknown_model", "no such model or address (Error code: 404 - The model does not exist); check llm.model"),
        ("bad_request", "does not accept the question (Error code: 400 - max_tokens is too large: too large too"),
        ("echo_key", "authorization Bearer ***"),
    ],
)
def test_what_another_attempt_cannot_repair_ends_at_once(fault, message):
    with running_server(faults=fault) as server:
        text = refused(OpenAIChat(server.url))
        assert server.stats()["requests"] == 1
    assert text.startswith(f"llm.model=test-model at {server.url}: ")
    assert message in text


def test_a_server_that_wants_a_key_where_none_is_configured():
    with running_server(faults="unauthorized") as server:
        assert "refuses no key (401); set llm.api_key_env" in refused(OpenAIChat(server.url, None))


@pytest.mark.parametrize("value", [None, "", "  ", "two words", "naïve"])
def test_without_a_key_nothing_is_sent(value, monkeypatch):
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TOGETHER_API_KEY", value)
    with running_server() as server:
        message = refused(OpenAIChat(server.url, "TOGETHER_API_KEY"))
        assert server.stats()["requests"] == 0
    assert "environment variable TOGETHER_API_KEY" in message
    assert value is None or not value.strip() or value not in message


def test_a_key_in_place_of_the_name_of_its_variable_is_not_repeated():
    with pytest.raises(UserError, match=r"llm\.api_key_env: not the name") as caught:
        OpenAIChat(api_key_env=KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_url", "localhost:8000"),
        ("timeout", 0),
        ("timeout", "long"),
        ("timeout", float("nan")),
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("max_concurrency", 0),
        ("max_concurrency", True),
        ("requests_per_minute", 0),
        ("tokens_per_minute", "many"),
        ("price_prompt", -1),
        ("price_completion", None),
        ("backoff", -1),
    ],
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(UserError, match=rf"^llm\.{field}="):
        OpenAIChat(**{field: value})


# ---------------------------------------------------------------- what comes back


@pytest.mark.parametrize(
    ("fault", "text", "finish"), [("empty", "", "stop"), ("null", "", "stop"), ("length", None, "length")]
)
def test_odd_answers_are_answers(fault, text, finish):
    with running_server(faults=fault, brain="first", k=2) as server:
        [reply] = complete(OpenAIChat(server.url), question())
        assert server.stats()["requests"] == 1
    assert reply.text == ("<Answer> [GATA1, SPI1] </Answer>" if text is None else text)
    assert reply.finish_reason == finish


def test_tokens_cost_and_latency():
    with running_server(brain="first", k=2, latency=0.1) as server:
        chat = OpenAIChat(server.url, price_prompt=30, price_completion=60)
        request = question(max_tokens=100)
        [reply] = complete(chat, request)
    assert (reply.prompt_tokens, reply.completion_tokens) == (8, 4)  # the words, as this server counts
    assert reply.cost == pytest.approx((8 * 30 + 4 * 60) / 1e6)
    assert reply.cost < chat.worst_cost(request)
    assert chat.worst_cost(request) == pytest.approx(100 * 60e-6, rel=0.6)
    assert 0.1 <= reply.latency < 1


def test_tokens_are_estimated_where_the_server_does_not_count():
    with running_server(faults="no_usage", brain="first", k=2) as server:
        [reply] = complete(OpenAIChat(server.url), question())
    # "Question 0 / Genes: GATA1, SPI1, PAX5, CD3D, ACTB" and "<Answer> [GATA1, SPI1] </Answer>", by pairs of letters
    assert (reply.prompt_tokens, reply.completion_tokens) == (28, 20)


def test_limits_per_minute_are_kept():
    with running_server() as server:

        async def ask():
            async with OpenAIChat(server.url, requests_per_minute=5) as chat:
                chat._limits.window = 0.3
                await asyncio.gather(*(chat.complete(question(i)) for i in range(11)))

        asyncio.run(ask())
        times = [event["time"] for event in server.events()]
    assert times[-1] - times[0] > 0.4  # two windows, less what the first request took to arrive


def test_a_model_is_opened_again_in_another_event_loop():
    with running_server() as server:
        chat = OpenAIChat(server.url)
        assert complete(chat, question(1))[0].text == complete(chat, question(1))[0].text
        with pytest.raises(RuntimeError, match="async with"):
            asyncio.run(chat.complete(question()))


# ---------------------------------------------------------------- the key


def test_the_key_is_in_no_log_and_no_representation(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx2", "httpcore2", "asyncio", "llm4grn"):
        caplog.set_level(logging.DEBUG, logger=name)
    with running_server(faults="echo_key_500,echo_key,rate_limit,drop_before", retry_after=0.01) as server:

        async def ask():
            async with OpenAIChat(server.url, max_retries=3, backoff=0.001) as chat:
                shown = f"{chat!r} {chat} {chat._limits!r}"
                outcomes = await asyncio.gather(
                    *(chat.complete(question(i)) for i in range(20)), return_exceptions=True
                )
                return shown, outcomes

        shown, outcomes = asyncio.run(ask(), debug=True)
    assert all(isinstance(outcome, UserError) for outcome in outcomes)
    assert any("***" in str(outcome) for outcome in outcomes)
    assert "failed" in caplog.text  # something was logged at all
    everything = caplog.text + shown + "".join(map(str, outcomes)) + "".join(capfd.readouterr())
    assert KEY not in everything
    assert KEY[3:] not in everything


def test_the_key_is_in_no_answer_and_does_reach_the_server():
    with running_server(brain="echo") as server:
        request = Request("m", [{"role": "user", "content": f"my key is {KEY}, a, b"}])
        [reply] = complete(OpenAIChat(server.url), request)
    assert reply.text == "my key is ***, a, b"
    with running_server(faults="echo_key") as server:
        # The server repeats the header it got: what is blotted out there was the key.
        assert "authorization Bearer ***" in refused(OpenAIChat(server.url))
