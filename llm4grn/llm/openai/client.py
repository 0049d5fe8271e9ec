"""Connection to a server: its address, the API key, and the client that holds the connections."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llm4grn.errors import UserError

if TYPE_CHECKING:
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


def check_variable(name: object) -> None:
    """Raise UserError unless ``name`` is the name of an environment variable.

    The message does not repeat the name, because it may be the key itself.
    """
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", str(name)):  # a key contains lower-case letters or hyphens
        raise UserError(
            "llm.api_key_env: not the name of an environment variable (capitals, digits, underscores); put the key "
            "itself into that variable only, and its name here"
        )


def read_key(variable: str) -> str:
    """Read the API key from an environment variable.

    Raises
    ------
    UserError
        If the variable is not set or does not contain a key.
    """
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[!-~]+", key):
        state = "is not set" if not key else "holds spaces or special characters, which no key has"
        raise UserError(f"the environment variable {variable} {state}; export it with the API key and run again")
    return key


def new_client(base_url: str | None, key: str | None, connections: int) -> AsyncOpenAI:
    """Create a client without its own retries and time-outs that keeps up to ``connections`` connections open."""
    # The import takes a second, and most runs send no request.
    import httpx2
    import openai

    # At DEBUG these log the headers of answers, where a server may repeat the key; at INFO, a line per request.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Limits admits the requests; the pool only keeps their connections open.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=connections)
    # Requests to a server on this machine must not be sent through a proxy.
    local = urlsplit(base_url or "").hostname in {"localhost", "127.0.0.1", "::1"}
    transport = openai.DefaultAsyncHttpxClient(limits=limits, timeout=None, trust_env=not local)
    # Without an explicit key the client would send OPENAI_API_KEY, possibly to a server that is not OpenAI's.
    client = openai.AsyncOpenAI(
        base_url=base_url, api_key=key or "none", max_retries=0, timeout=None, http_client=transport
    )
    if base_url is not None:  # the same holds for OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS
        client.organization = client.project = None
        client._custom_headers = {}
    return client
