"""Sends one POST to the callback address of a job, to an address that was checked, with a limit on everything.

It resolves the name once, checks every address, and connects to one of these addresses. A name that changes its address
a moment later has no effect. It follows no redirect and uses no proxy. It must not block the event loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

from ...worker.shared.callback_rules import BadCallback, CallbackUrl, check_address, check_url

TOTAL_SECONDS: Final = 20.0
MAX_HEAD_BYTES: Final = 16 << 10
MOST_ADDRESSES: Final = 8
NAME_THREADS: Final = 4
PORTS: Final = {"http": 80, "https": 443}
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class CallbackFailed(Exception):
    """The report was not delivered; the text gives the reason. `for_good`: no further try would end otherwise."""

    def __init__(self, because: str, *, for_good: bool = False) -> None:
        super().__init__(because)
        self.for_good = for_good


class HostNames:
    """Resolves names on threads of its own, so that a name server that does not answer delays nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(NAME_THREADS, thread_name_prefix="callback names")

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host. Raises OSError."""
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [str(entry[4][0]) for entry in found]

    def close(self) -> None:
        """Starts no further look-up. Those that have begun continue."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def deliver(
    url: str,
    entries: Iterable[str],
    body: bytes,
    headers: dict[str, str],
    *,
    resolve: Resolve,
    seconds: float = TOTAL_SECONDS,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> None:
    """Returns when a 2xx status came back. Raises CallbackFailed."""
    entries = tuple(entries)
    try:
        wanted = check_url(url, entries)
    except BadCallback as e:
        raise CallbackFailed(str(e), for_good=True) from e
    try:
        async with asyncio.timeout(seconds):
            addresses = await _checked(wanted, entries, resolve)
            context = await asyncio.to_thread(tls or ssl.create_default_context) if wanted.scheme == "https" else None
            status = await _post(wanted, addresses, context, body, headers)
    except TimeoutError:
        raise CallbackFailed(f"no answer within {seconds:g} s") from None
    if 300 <= status < 400:
        raise CallbackFailed(f"it answered {status}; redirects are not followed", for_good=True)
    if not 200 <= status < 300:
        raise CallbackFailed(f"it answered {status}")


async def _checked(url: CallbackUrl, entries: Iterable[str], resolve: Resolve) -> Sequence[str]:
    """All addresses of the host. Each must be allowed, because any of them may be the one that is used next."""
    try:
        addresses = list(dict.fromkeys(await resolve(url.host, url.port)))
    except (OSError, UnicodeError) as e:
        raise CallbackFailed(f"its host cannot be looked up: {getattr(e, 'strerror', None) or e}") from e
    try:
        for address in addresses:
            check_address(address, url, entries)
    except (BadCallback, ValueError) as e:
        raise CallbackFailed(str(e)) from e
    if not addresses:
        raise CallbackFailed("its host has no address")
    return addresses[:MOST_ADDRESSES]


async def _post(
    url: CallbackUrl, addresses: Sequence[str], tls: ssl.SSLContext | None, body: bytes, headers: dict[str, str]
) -> int:
    because = ""
    for address in addresses:
        try:
            reader, writer = await asyncio.open_connection(
                address, url.port, ssl=tls, server_hostname=url.host if tls is not None else None, limit=MAX_HEAD_BYTES
            )
        except (OSError, ssl.SSLError) as e:
            because = f"no connection: {getattr(e, 'strerror', None) or type(e).__name__}"
            continue
        try:
            writer.write(_head(url, body, headers) + body)
            await writer.drain()
            return _status(await reader.readuntil(b"\n"))
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as e:
            raise CallbackFailed(f"it did not answer: {getattr(e, 'strerror', None) or type(e).__name__}") from e
        finally:
            writer.transport.abort()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
    raise CallbackFailed(because)


def _head(url: CallbackUrl, body: bytes, headers: dict[str, str]) -> bytes:
    name = f"[{url.host}]" if ":" in url.host else url.host
    host = name if url.port == PORTS[url.scheme] else f"{name}:{url.port}"
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _status(line: bytes) -> int:
    version, _, rest = line.decode("latin-1").partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
        raise CallbackFailed("its answer is not HTTP")
    return int(code)
