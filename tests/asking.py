"""httpx for servers on this machine: it waits as long as every wait of the tests, and loads no certificates.

httpx alone gives up after five seconds, which a busy machine needs for nothing, and reads a hundred certificates for
each request, which takes longer than the request.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx
from tests.support import PATIENCE_SECONDS

_NO_CERTIFICATES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(**options: Any) -> httpx.Client:
    return httpx.Client(**{"timeout": PATIENCE_SECONDS, "verify": _NO_CERTIFICATES, "trust_env": False, **options})


def request(method: str, url: str, *, timeout: float = PATIENCE_SECONDS, **options: Any) -> httpx.Response:
    """The answer to one request, on a connection of its own."""
    with client(timeout=timeout) as one:
        return one.request(method, url, **options)


def get(url: str, **options: Any) -> httpx.Response:
    return request("GET", url, **options)


def head(url: str, **options: Any) -> httpx.Response:
    return request("HEAD", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    return request("POST", url, **options)
