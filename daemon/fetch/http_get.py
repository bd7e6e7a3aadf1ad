"""One HTTP GET with limits on everything: redirects, waiting, what is read. By the standard library alone.

Plain http is used only to addresses of this machine or of a private network, unless that is allowed. A token goes to
the host that it is for, and over no redirect to another one. It honours the proxies of the environment. Blocks; another
thread ends it by `stop`. Invariant: no error that it raises holds a token.
"""

from __future__ import annotations

import http.client
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from msgspec import Struct

from ...worker.shared.loopback import plain_address
from ..errors import Refused
from ..system.clock import Clock, SystemClock
from ..system.steady_reads import SlowAnswer, SteadyReads
from .proxy import LOGIN_WANTED, Proxy, is_final, proxy_for, refused_tunnel, why_refused

MAX_REDIRECTS: Final = 8
SILENT_SECONDS: Final = 30.0
"""So long a server may send nothing."""
HEAD_SECONDS: Final = 60.0
"""So long the head of an answer may take."""
SMALL_SECONDS: Final = 300.0
"""So long a small answer may take."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_PORTS: Final = {"http": 80, "https": 443}
_SAFE: Final = "%/:=&?~#+!$,;'@()*[]"


class NotAnswered(Exception):
    """There was no connection, or it broke; another try may succeed. The text gives the reason."""


class HttpRules(Struct, frozen=True):
    """What is allowed, and the secret of one host. `token_origin` is scheme, host and port; "" for no token.

    `hub`: a hub answers.
    """

    insecure_http: bool = False
    token_origin: str = ""
    token_header: tuple[str, str] = ("", "")
    silent_seconds: float = SILENT_SECONDS
    hub: bool = False


class HttpReader:
    """GETs, one at a time; see the module."""

    def __init__(self, rules: HttpRules, clock: Clock | None = None) -> None:
        self.rules, self._clock = rules, clock or SystemClock()
        self.stopped = threading.Event()
        self._socket: socket.socket | None = None
        self._reads: SteadyReads | None = None

    def stop(self) -> None:
        """Ends what is under way, and every later GET. From any thread."""
        self.stopped.set()
        with suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # there may be none

    @contextmanager
    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        *,
        whole_seconds: float = math.inf,
    ) -> Iterator[tuple[http.client.HTTPResponse, str]]:
        """The answer to a GET (or HEAD) and the address that it came from, after redirects; its body has to come in
        `whole_seconds`. Raises NotAnswered and Refused.
        """
        first = url
        for _ in range(MAX_REDIRECTS + 1):
            if self.stopped.is_set():
                raise Refused("cannot fetch: it was stopped; what came is kept, and the same command continues")
            parts = _redirected(url, first) if url != first else parsed(url)
            self._require_safe(parts, first)
            proxy = proxy_for(parts.scheme, parts.hostname or "")
            connection, target, sent = self._connection(parts, proxy, dict(headers or {}))
            try:
                connection.response_class = self._response  # type: ignore[assignment]  # it is called, no more
                response = _asked(connection, method, target, sent, url, self._opened, proxy)
                if proxy is not None and response.status == LOGIN_WANTED:
                    raise Refused(f"cannot fetch {shown(url)}: {why_refused(proxy, LOGIN_WANTED)}")
                if self._reads is not None:
                    self._reads.allow(whole_seconds)
                to = response.getheader("Location", "") if response.status in _REDIRECTS else ""
                if not to:
                    yield response, url
                    return
                url = _joined(url, quote(to, safe=_SAFE), first).partition("#")[0]
            finally:
                self._socket = None
                connection.close()
        raise Refused(f"cannot fetch {shown(first)}: more than {MAX_REDIRECTS} redirects")

    def text(self, url: str, most_bytes: int, headers: Mapping[str, str] | None = None) -> HttpText:
        """A small answer as a whole. Raises NotAnswered, and Refused when it is longer than `most_bytes`."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        with self.get(url, sent, whole_seconds=SMALL_SECONDS) as (response, place):
            try:
                body = response.read(most_bytes + 1)
            except (OSError, http.client.HTTPException) as e:
                raise NotAnswered(why(e)) from None
            if len(body) > most_bytes:
                raise Refused(f"cannot fetch {shown(url)}: its answer is longer than {most_bytes:,} bytes")
            return HttpText(response.status, place, body, {name.lower(): text for name, text in response.getheaders()})

    def _opened(self, connection: http.client.HTTPConnection) -> None:
        self._socket = connection.sock

    def _response(self, connection: socket.socket, **more: Any) -> http.client.HTTPResponse:
        """As http.client makes the answer of a connection, read steadily."""
        self._reads = SteadyReads(connection, self._clock, self.rules.silent_seconds, HEAD_SECONDS)
        return http.client.HTTPResponse(self._reads, **more)  # type: ignore[arg-type]  # it uses `makefile` alone

    def _connection(
        self, parts: SplitResult, through: Proxy | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if self.rules.token_origin and self.rules.token_origin == origin(parts.geturl()):
            headers[self.rules.token_header[0]] = self.rules.token_header[1]
        headers = {"User-Agent": "modelward", "Accept": "*/*", **headers}
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE)
        seconds = self.rules.silent_seconds
        if through is None:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                return http.client.HTTPSConnection(host, port, timeout=seconds, context=context), target, headers
            return http.client.HTTPConnection(host, port, timeout=seconds), target, headers
        if parts.scheme == "http":
            whole = f"http://{parts.netloc.rpartition('@')[2]}{target}"
            return (
                http.client.HTTPConnection(through.host, through.port, timeout=seconds),
                whole,
                headers | through.login,
            )
        context = ssl.create_default_context()
        tunnel = http.client.HTTPSConnection(through.host, through.port, timeout=seconds, context=context)
        tunnel.set_tunnel(host, port, through.login)
        return tunnel, target, headers

    def _require_safe(self, parts: SplitResult, first: str) -> None:
        """Raises Refused for plain http to an address of the internet, and for a way back from https to http."""
        if parts.scheme == "https" or self.rules.insecure_http:
            return
        allow = "; --insecure-http allows it, and then nothing proves where the files come from"
        if first.startswith("https:"):
            raise Refused(f"cannot fetch {shown(first)}: it redirects to plain http, at {parts.hostname}{allow}")
        if not _private(parts.hostname or "", parts.port or 80):
            raise Refused(f"cannot fetch {shown(first)}: plain http to {parts.hostname} is not safe{allow}")


class HttpText(Struct, frozen=True):
    """A small answer; the names of the headers are in small letters."""

    status: int
    url: str
    body: bytes
    headers: dict[str, str]


def parsed(url: str) -> SplitResult:
    """The parts of a web address. Raises Refused for anything else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        wrong = parts.scheme not in _PORTS or not host or parts.port == 0 or ("%" in host and ":" not in host)
    except ValueError:
        wrong = True
    if wrong or not url.isprintable() or " " in url:
        raise Refused(f"cannot fetch {shown(url)}: that is no address of the web")
    return parts


def _redirected(url: str, first: str) -> SplitResult:
    """The parts of an address that a server named. Raises Refused, which names the one that was given."""
    try:
        return parsed(url)
    except Refused:
        raise _leads_nowhere(url, first) from None


def _joined(url: str, to: str, first: str) -> str:
    """Where a redirect leads. Raises Refused."""
    try:
        return urljoin(url, to)
    except ValueError:
        raise _leads_nowhere(to, first) from None


def _leads_nowhere(to: str, first: str) -> Refused:
    return Refused(f"cannot fetch {shown(first)}: it redirects to {shown(to)}, which is no address of the web")


def origin(url: str) -> str:
    """Scheme, host and port of an address: what a token belongs to. Raises Refused."""
    parts = parsed(url)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{parts.port or _PORTS[parts.scheme]}"


def shown(url: str) -> str:
    """An address for people: without the user, the password and the query, which may be secrets."""
    head, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{head}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"[:300] if rest else url[:300]


def why(error: Exception) -> str:
    """The reason of a broken connection, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, SlowAnswer):
        return str(error)
    if isinstance(error, TimeoutError):
        return "it sent nothing for too long"
    if isinstance(error, http.client.HTTPException):
        return "the connection broke"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _asked(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    url: str,
    opened: Callable[[http.client.HTTPConnection], None],
    proxy: Proxy | None,
) -> http.client.HTTPResponse:
    try:
        connection.connect()
        opened(connection)
        connection.request(method, target, headers=dict(headers))
        return connection.getresponse()
    except ssl.SSLCertVerificationError as e:
        raise Refused(f"cannot fetch {shown(url)}: {why(e)}") from None
    except (OSError, http.client.HTTPException, ValueError) as e:
        if proxy is None or isinstance(e, ssl.SSLError):
            raise NotAnswered(f"{urlsplit(url).hostname}: {why(e)}") from None
        status = refused_tunnel(e)
        if status and is_final(status):
            raise Refused(f"cannot fetch {shown(url)}: {why_refused(proxy, status)}") from None
        raise NotAnswered(why_refused(proxy, status) if status else f"the proxy {proxy}: {why(e)}") from None


def _private(host: str, port: int) -> bool:
    """Whether a host leads only to this machine or to private networks."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotAnswered(f"{host}: its name leads nowhere") from None
    addresses = [plain_address(str(entry[4][0])) for entry in found]
    return all(address.is_loopback or address.is_private for address in addresses)
