"""One HTTP POST with limits on everything, for the child that sends an alert. It follows no redirect.

It runs in the main thread of that child: an alarm signal ends it, also when a server sends a byte a second.
"""

from __future__ import annotations

import http.client
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from ..system.retry_after import retry_after

MAX_ANSWER_BYTES: Final = 64 * 1024


class NotDelivered(Exception):
    """The message did not arrive. The text gives the reason and holds no part of the address. `answer` is the server's
    answer.
    """

    def __init__(self, because: str, retry_after: float = 0.0, answer: bytes = b"") -> None:
        super().__init__(because)
        self.retry_after, self.answer = retry_after, answer


class HttpAnswer(NamedTuple):
    """The server's answer with a status 2xx."""

    status: int
    body: bytes


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block raises Failed when it takes longer. Only for a main thread."""

    def ring(number: int, frame: object) -> None:
        raise NotDelivered(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def post(
    url: str,
    body: bytes,
    content_type: str,
    *,
    wall: float,
    headers: dict[str, str] | None = None,
    ca_file: str = "",
) -> HttpAnswer:
    """POSTs and reads the answer. `wall` is the time, for a Retry-After that names a date. Raises NotDelivered.

    `ca_file` holds certificates that are trusted besides the system's.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise NotDelivered("the address is no web address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise NotDelivered("the address is no web address")
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%/:=&?~#+!$,;'@()*[]")
    sent = {"Content-Type": content_type, "User-Agent": "modelward", "Connection": "close", **(headers or {})}
    connection = _connect(parts.scheme, host, port, ca_file)
    try:
        if connection.__class__ is http.client.HTTPConnection and _proxy("http", host):
            target = f"http://{host}:{port or 80}{target}"
        connection.request("POST", target, body, sent)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES)
        retry = retry_after(response.getheader("Retry-After", ""), wall)
    except ssl.SSLError as e:
        raise NotDelivered(f"no trusted connection: {e.reason or type(e).__name__}") from None
    except OSError as e:
        raise NotDelivered(f"no connection: {e.strerror or type(e).__name__}") from None
    except (http.client.HTTPException, ValueError) as e:
        raise NotDelivered(f"its answer is no HTTP: {type(e).__name__}") from None
    finally:
        connection.close()
    if not 200 <= response.status < 300:
        raise NotDelivered(f"it answered {response.status}", retry, answer)
    return HttpAnswer(response.status, answer)


def trusted(ca_file: str) -> ssl.SSLContext:
    """A TLS context with the system's certificates and those in `ca_file` ("" for none). Raises NotDelivered."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as e:  # ssl.SSLError is one
            raise NotDelivered(f"alerts.ca_file cannot be used: {e.strerror or 'no certificate in it'}") from None
    return context


def _connect(scheme: str, host: str, port: int | None, ca_file: str) -> http.client.HTTPConnection:
    proxy = _proxy(scheme, host)
    through = urlsplit(proxy) if proxy else None
    if through is not None and through.hostname:
        if scheme == "http":
            return http.client.HTTPConnection(through.hostname, through.port or 80)
        connection = http.client.HTTPSConnection(through.hostname, through.port or 80, context=trusted(ca_file))
        connection.set_tunnel(host, port or 443)
        return connection
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, context=trusted(ca_file))
    return http.client.HTTPConnection(host, port)


def _proxy(scheme: str, host: str) -> str:
    """The proxy that the environment names for this host; "" for none."""
    proxies = getproxies_environment()
    return "" if proxy_bypass(host) else str(proxies.get(scheme, ""))
