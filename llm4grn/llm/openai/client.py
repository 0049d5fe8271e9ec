"""Connection to a server: its address, the API key, and the client that holds the connections."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llm4grn.errors import UserError

if TYPE_CHECKING:
    import ssl

    import httpx2
    from openai import AsyncOpenAI


def check_address(address: object) -> None:
    """Raise UserError unless ``address`` is the address of a server and contains no secret."""
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        parts = urlsplit("")
    if "@" in str(address) or parts.query or parts.fragment:
        raise UserError(
            "llm.base_url: an address with a user, a password, ? or #, and it is written into the folder of the run; "
            "put the key into an environment variable, and the name of that into llm.api_key_env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"llm.base_url={address}: not an address like http://localhost:8000/v1")


def check_variable(name: object, field: str = "api_key_env") -> None:
    """Raise UserError unless ``name`` is the name of an environment variable.

    The message does not repeat the name, because it may be the key itself.
    """
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", str(name)):  # a key contains lower-case letters or hyphens
        raise UserError(
            f"llm.{field}: not the name of an environment variable (capitals, digits, underscores); put the key "
            "itself into that variable only, and its name here"
        )


def read_key(variable: str) -> str:
    """Read the API key from an environment variable.

    Raises
    ------
    UserError
        If the variable is not set or does not contain a key.
    """
    return _read(variable, r"[!-~]+", "holds spaces or special characters, which no key has", "with the API key")


def read_values(variables: Mapping[str, str] | None, field: str) -> dict[str, str]:
    """Read the values of headers or of the query from the environment variables of these names.

    Raises
    ------
    UserError
        If a variable is not set or holds what a header cannot.
    """
    return {
        name: _read(variable, r"[ -~]+", "holds characters that cannot be sent", f"for llm.{field}.{name}")
        for name, variable in (variables or {}).items()
    }


def _read(variable: str, pattern: str, problem: str, purpose: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not re.fullmatch(pattern, value):
        state = "is not set" if not value else problem
        raise UserError(f"the environment variable {variable} {state}; export it {purpose} and run again")
    return value


def new_client(
    base_url: str | None,
    key: str | None,
    connections: int,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    ca_file: str | None = None,
) -> AsyncOpenAI:
    """Create a client without its own retries and time-outs.

    Parameters
    ----------
    base_url
        Address of the server; None for OpenAI or the value of ``OPENAI_BASE_URL``.
    key
        API key; None sends none.
    connections
        Number of connections that are kept open.
    headers, query
        Sent with every request.
    ca_file
        File of certificates to trust; None for the usual ones.

    Raises
    ------
    UserError
        If the file of certificates cannot be used, or the proxy of the environment.
    """
    # The import takes a second, and most runs send no request.
    import httpx2
    import openai

    # At DEBUG these log the headers of answers, where a server may repeat the key; at INFO, a line per request.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Limits admits the requests; the pool only keeps their connections open.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=connections)
    # Requests to a server on this machine must not be sent through a proxy.
    local = _is_local(base_url or os.environ.get("OPENAI_BASE_URL", ""))
    verify = True if ca_file is None else _trusting(ca_file)
    problem = None
    try:
        # A redirect would take the headers with the key to another host.
        transport = openai.DefaultAsyncHttpxClient(
            limits=limits, timeout=None, trust_env=not local, verify=verify, follow_redirects=False
        )
    except ImportError:
        problem = "a SOCKS proxy, which needs the package socksio (pip install socksio)"
    except ValueError:
        problem = "no address such as http://proxy.example.org:3128"
    if problem is not None:  # the address of a proxy may contain a password, and is not repeated
        raise UserError(
            f"the proxy in the environment (ALL_PROXY, HTTPS_PROXY or HTTP_PROXY) is {problem}; or unset it"
        )
    if key is None and not any(name.lower() == "authorization" for name in headers or {}):
        transport.event_hooks = {"request": [_without_authorization]}
    # Without an explicit key the client would send OPENAI_API_KEY, possibly to a server that is not OpenAI's.
    client = openai.AsyncOpenAI(
        base_url=base_url,
        api_key=key or "none",
        max_retries=0,
        timeout=None,
        http_client=transport,
        default_query=dict(query or {}),
    )
    if base_url is not None:  # the same holds for OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS
        client.organization = client.project = None
        client._custom_headers = {}
    client._custom_headers = {**client._custom_headers, **(headers or {})}
    return client


def _is_local(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _without_authorization(request: httpx2.Request) -> None:
    request.headers.pop("Authorization", None)  # the client insists on a key


def _trusting(ca_file: str) -> ssl.SSLContext:
    import ssl

    path = Path(ca_file).expanduser()
    try:
        return ssl.create_default_context(cafile=str(path))
    except OSError as error:  # ssl.SSLError is one
        problem = "not a file of certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
    raise UserError(f"llm.ca_file={ca_file}: {problem}; ask who runs the server for the file of its CA")
