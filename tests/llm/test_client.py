"""The way to a server: nothing secret goes to one that it is not meant for, and nothing secret is printed."""

import asyncio
import importlib.util
import json
import shutil
import subprocess

import pytest
from endpoint import endpoint

from llm4grn.errors import UserError
from llm4grn.llm.messages import Request
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.openai.client import check_address

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "SPI1"}, "finish_reason": "stop"}]}


def ask(body=ANSWER, status=200, answered="", **options):
    """What a server gets that answers with just this, and the reply or the error."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Any\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{answered}\r\n"
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
    assert "authorization" not in received.lower()


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


def test_headers_and_query_are_read_from_named_variables_and_blotted_out(monkeypatch):
    monkeypatch.setenv("MY_KEY", "azure-secret-123")
    monkeypatch.setenv("MY_VERSION", "2024-10-21")
    options = {"headers": {"api-key": "MY_KEY"}, "query": {"api-version": "MY_VERSION"}}
    reply, received = ask(json.dumps(ANSWER).replace("SPI1", "my azure-secret-123").encode(), **options)
    assert received.startswith("POST /v1/chat/completions?api-version=2024-10-21 ")
    assert "api-key: azure-secret-123" in received
    assert "authorization" not in received.lower()
    assert reply.text == "my ***"
    message, _ = ask({"error": {"message": "bad azure-secret-123"}}, 400, **options)
    assert "azure-secret" not in message


def test_a_header_may_hold_the_authorization(monkeypatch):
    monkeypatch.setenv("MY_KEY", "Basic c2VjcmV0LWtleQ==")
    reply, received = ask(
        json.dumps(ANSWER).replace("SPI1", "c2VjcmV0LWtleQ==").encode(), headers={"Authorization": "MY_KEY"}
    )
    assert "Basic c2VjcmV0LWtleQ==" in received
    assert reply.text == "***"


@pytest.mark.parametrize("field", ["headers", "query"])
def test_the_value_of_a_header_in_the_place_of_its_variable_is_not_repeated(field, monkeypatch):
    with pytest.raises(UserError, match=rf"^llm\.{field}\.api-key: not the name of an environment variable") as caught:
        OpenAIChat("http://localhost:1/v1", **{field: {"api-key": "sk-secret"}})
    assert "secret" not in str(caught.value)
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(UserError, match=rf"NO_SUCH is not set; export it for llm\.{field}\.api-key"):
        ask(**{field: {"api-key": "NO_SUCH"}})
    with pytest.raises(UserError, match=rf"^llm\.{field}=api-key: expected names, each with that"):
        OpenAIChat("http://localhost:1/v1", **{field: "api-key"})


@pytest.fixture
def proxied(monkeypatch):
    def proxied(url):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv("HTTP_PROXY", url)
        return OpenAIChat("http://llm.example.org/v1", None, max_retries=0, timeout=20)

    return proxied


def complete(chat):
    async def main():
        async with chat:
            return await chat.complete(Request("m", [{"role": "user", "content": "?"}]))

    return asyncio.run(main())


def test_a_proxy_of_the_environment_is_used(proxied):
    with endpoint() as server:
        assert complete(proxied(server.url.removesuffix("/v1"))).text.startswith("<Answer>")
        assert [path for path, _ in server.heads] == ["http://llm.example.org/v1/chat/completions"]


def test_a_proxy_that_wants_a_password_is_told_from_a_server_that_wants_a_key(proxied):
    refused = pytest.raises(UserError, match="the proxy wants a user and a password")
    with endpoint(lambda body, n: (407, "who are you?")) as server, refused:
        complete(proxied(server.url.removesuffix("/v1")))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("socks5://me:secret@localhost:1080", "a SOCKS proxy, which needs the package socksio"),
        ("ftp://me:secret@localhost:1080", "no address such as http://proxy.example.org:3128"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line_without_its_password(proxied, url, problem):
    if "socks" in url and importlib.util.find_spec("socksio"):
        pytest.skip("SOCKS works here")
    with pytest.raises(UserError, match=f"HTTP_PROXY\\) is {problem}") as caught:
        complete(proxied(url))
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("content", "problem"), [(None, "No such file"), ("no PEM", "not a file of certificates")])
def test_a_file_of_certificates_that_is_none_is_one_line(tmp_path, content, problem):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=rf"^llm\.ca_file=.*ca\.pem: {problem}"):
        ask(ca_file=str(path))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_of_ones_own_is_trusted_by_its_file_only(tmp_path):
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    making += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*making, "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True)
    with endpoint(certificate=(certificate, key)) as server:
        assert complete(OpenAIChat(server.url, None, ca_file=str(certificate))).text.startswith("<Answer>")
        with pytest.raises(UserError, match=r"certificate is not trusted \(.*; set llm\.ca_file to the file"):
            complete(OpenAIChat(server.url, None))


# -- what a server does with a key ------------------------------------------------------------------------------------

LONG = "sk-proj-0123456789abcdefghijklmnop-qrs"


@pytest.mark.parametrize("headers", [None, {"api-key": "MY_KEY"}])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_takes_the_key_to_another_host(monkeypatch, status, headers):
    monkeypatch.setenv("MY_KEY", LONG)
    with endpoint() as other, endpoint(lambda body, n: (status, "", {"Location": f"{other.url}/x"})) as server:
        options = {"api_key_env": None if headers else "MY_KEY", "headers": headers, "max_retries": 0}
        said = asyncio.run(refusal_of(OpenAIChat(server.url, **options)))
        assert not other.heads
    assert f"the server sends on to http://127.0.0.1 ({status})" in said
    assert "llm.base_url" in said


async def refusal_of(chat):
    async with chat:
        try:
            return await chat.complete(Request("m", [{"role": "user", "content": "?"}]))
        except UserError as error:
            return str(error)


@pytest.mark.parametrize("part", [LONG[:20], LONG[5:], LONG[10:-5], LONG.replace("-", "\\u002d")])
def test_a_part_of_a_key_is_blotted_out_too(monkeypatch, part):
    monkeypatch.setenv("MY_KEY", LONG)
    said, _ = ask(b'{"error": {"message": "denied for %s, today"}}' % part.encode(), 403, api_key_env="MY_KEY")
    assert "denied for" in said
    assert "today" in said
    assert not any(LONG[i : i + 12] in said for i in range(len(LONG) - 11))


def test_a_value_of_the_query_is_blotted_out_as_it_is_sent(monkeypatch):
    monkeypatch.setenv("MY_KEY", "pA/ss+word==SECRET99")
    said, _ = ask(b'{"error": {"message": "no ?k=pA%2Fss%2Bword%3D%3DSECRET99"}}', 400, query={"k": "MY_KEY"})
    assert "SECRET99" not in said
    assert "no ?k=***" in said


def test_a_key_in_the_reason_of_an_answer_is_not_kept(monkeypatch):
    monkeypatch.setenv("MY_KEY", "abcdefghijklmnopqrstuv")
    choice = {"message": {"content": "SPI1"}, "finish_reason": "abcdefghijklmnopqrstuv"}
    reply, _ = ask({"choices": [choice]}, api_key_env="MY_KEY")
    assert "abcdefghij" not in repr(reply)


@pytest.mark.parametrize("by", ["option", "variable", "any address"])
def test_a_server_on_this_machine_is_asked_without_the_proxy(monkeypatch, by):
    with endpoint() as proxy, endpoint() as server:
        url = server.url.replace("127.0.0.1", "0.0.0.0") if by == "any address" else server.url
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        chat = OpenAIChat(None if by == "variable" else url, api_key_env=None, max_retries=0)
        reply = asyncio.run(refusal_of(chat))
        assert (len(proxy.heads), len(server.heads)) == (0, 1)
    assert "GATA1" in reply.text
