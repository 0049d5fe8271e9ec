"""The way to a server: nothing secret goes to one that it is not meant for, and nothing secret is printed."""

import asyncio
import json

import pytest

from llm4grn.errors import UserError
from llm4grn.llm.messages import Request
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.openai.client import check_address

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "SPI1"}, "finish_reason": "stop"}]}


def ask(body=ANSWER, status=200, headers="", **options):
    """What a server gets that answers with just this, and the reply or the error."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Any\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    received = []

    async def serve(reader, writer):
        received.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await reader.read(10_000)
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async def main():
        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        async with OpenAIChat(url, **{"api_key_env": None, "max_retries": 0, "timeout": 5, **options}) as chat:
            try:
                return await chat.complete(Request("m", [{"role": "user", "content": "?"}]))
            except UserError as error:
                return str(error)

    return asyncio.run(main()), "".join(received)


def test_what_is_set_for_openai_is_not_sent_to_other_servers(monkeypatch):
    secrets = {
        "OPENAI_API_KEY": "secret-key",
        "OPENAI_ADMIN_KEY": "secret-admin",
        "OPENAI_ORG_ID": "secret-organisation",
        "OPENAI_PROJECT_ID": "secret-project",
        "OPENAI_WEBHOOK_SECRET": "secret-hook",
        "OPENAI_CUSTOM_HEADERS": "X-Mine: secret-header\nAuthorization: Bearer secret-bearer",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    reply, received = ask()
    assert reply.text == "SPI1"
    assert received.startswith("POST /v1/chat/completions ")
    assert "secret" not in received


@pytest.mark.parametrize("key", ["sk-abc/def+0123456789", "-" * 8])
def test_a_key_is_blotted_out_however_the_server_writes_it(monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    escaped = json.dumps(key).replace("/", "\\/").encode()
    answer = json.dumps(ANSWER).encode().replace(b'"SPI1"', escaped)
    reply, received = ask(answer, api_key_env="MY_KEY")
    assert reply.text == "***"
    assert f"Bearer {key}" in received
    for body, status in (escaped, 200), (b'{"error": {"message": %s}}' % escaped, 400):
        message, _ = ask(body, status, api_key_env="MY_KEY")
        assert "***" in message
        assert key not in message


@pytest.mark.parametrize("word", ["x", "1", "-", "EMPTY"])
def test_a_word_in_the_place_of_a_key_does_no_harm_to_answers(monkeypatch, word):
    monkeypatch.setenv("MY_KEY", word)
    text = "EMPTY NKX2-1 x 1"
    reply, _ = ask(json.dumps(ANSWER).replace("SPI1", text).encode(), api_key_env="MY_KEY")
    assert reply.text == text


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b"no gzip", 200, "Content-Encoding: gzip\r\n"),
        (b"[" * 100_000, 200, ""),
        ({"error": {"code": {"a": 1}, "type": [1], "message": {"x": 1}}}, 400, ""),
        ([1, 2], 400, ""),
        (b"null", 429, ""),
        ({"error": {"message": "\x1b[31m red \0 \r\n" * 10_000}}, 400, ""),
        (b"", 204, ""),
        (b"{}", 429, "Retry-After: Wed, 21 Oct 99999999999999999999 07:28:00 GMT\r\n"),
        (b"{}", 429, f"Retry-After: {'9' * 400}\r\n"),
    ],
)
def test_whatever_a_server_answers_the_user_reads_one_short_line(body, status, headers):
    message, _ = ask(body, status, headers)
    assert message.startswith("llm.model=m at http://127.0.0.1:")
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    "address",
    [
        "https://me:sk-secret@example.org/v1",
        "me:sk-secret@example.org",
        "https://example.org/v1?api-key=sk-secret",
        "https://example.org/v1#sk-secret",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(address):
    with pytest.raises(UserError, match=r"llm\.base_url: .*put the key into an environment variable") as caught:
        check_address(address)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "address", ["", "localhost:8000", "ftp://host", "http://", "http://[::1", "http://h:x/", 5, []]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UserError, match=r"llm\.base_url=.*: not an address like http://localhost:8000/v1"):
        check_address(address)
