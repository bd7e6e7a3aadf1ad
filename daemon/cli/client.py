"""Sends requests to the daemon over its Unix socket: HTTP by the standard library alone, so that a command starts at
once.

Every wait and every answer has a limit. Unreachable means that the request failed on the way, Refused that the daemon
refused it; both have the sentence for the operator.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from ..errors import Refused, Unreachable
from ..system.clock import SystemClock
from ..units import size
from .socket_path import socket_path

T = TypeVar("T")
ANSWER_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 3600.0
TICK_SECONDS: Final = 0.25
MAX_ANSWER_BYTES: Final = 16 << 20
MAX_EVENT_LINE_BYTES: Final = 1 << 20
MAX_DIGITS: Final = 100


class ApiAnswer(NamedTuple):
    """The daemon's answer: the JSON as it came, and its content."""

    status: int
    text: str
    data: dict[str, Any]

    def read(self, kind: type[T]) -> T:
        """The answer as a structure of `daemon.answers`; fields that only a newer daemon has are ignored. Raises
        Refused.
        """
        from msgspec.json import decode  # here: a command that reaches no daemon needs none of it

        from ...worker.shared.unreadable import UNREADABLE

        try:
            return decode(self.text, type=kind)
        except UNREADABLE as e:
            raise Refused(f"cannot read the daemon's answer: {e}; --json prints it as it came") from e


class RefusedAnswer(Refused):
    """The daemon refused the request; `answer` is its whole answer."""

    def __init__(self, answer: ApiAnswer) -> None:
        self.answer = answer
        super().__init__(refusal(answer))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("modelward", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """The daemon behind one socket. Each call is a connection of its own."""

    def __init__(self, path: str = "") -> None:
        """`path` "" means the one that the environment names, else the usual one (see socket_path)."""
        self.path = path or socket_path(os.environ)

    def get(self, path: str, **query: object) -> ApiAnswer:
        """GET; raises Unreachable, and RefusedAnswer for an answer of 400 and above."""
        return self._ask("GET", _with_query(path, query), None, ANSWER_SECONDS, None)

    def get_and_wait(self, path: str, on_tick: Callable[[], None], *, seconds: float = WAIT_SECONDS) -> ApiAnswer:
        """GET of something that takes its time to find out. Until then `on_tick` is called again and again."""
        return self._ask("GET", path, None, seconds, on_tick)

    def post(self, path: str, body: dict[str, object] | None = None, **query: object) -> ApiAnswer:
        """POST with a short answer, as `get`."""
        return self._ask("POST", _with_query(path, query), body or {}, ANSWER_SECONDS, None)

    def post_and_wait(
        self, path: str, body: dict[str, object], on_tick: Callable[[], None], *, seconds: float = WAIT_SECONDS
    ) -> ApiAnswer:
        """POST with `wait=1`: answers when the matter is decided. Until then `on_tick` is called again and again."""
        return self._ask("POST", _with_query(path, {"wait": 1}), body, seconds, on_tick)

    def _ask(
        self,
        method: str,
        target: str,
        body: dict[str, object] | None,
        seconds: float,
        on_tick: Callable[[], None] | None,
    ) -> ApiAnswer:
        connection = _UnixConnection(self.path, ANSWER_SECONDS)
        sent = False
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(
                method, target, payload, {"Content-Type": "application/json", "Accept": "application/json"}
            )
            sent = True
            if on_tick is not None:
                _tick_until_readable(connection.sock, seconds, on_tick)
            response = connection.getresponse()
            raw = response.read(MAX_ANSWER_BYTES + 1)
            if len(raw) <= MAX_ANSWER_BYTES and response.length:
                raise http.client.IncompleteRead(raw, response.length)
        except TimeoutError as e:
            raise Unreachable(f"cannot reach the daemon: no answer from {self.path} within {seconds:g} s") from e
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(self._why(e, sent)) from e
        finally:
            connection.close()
        return self._answer(response.status, raw)

    def _answer(self, status: int, raw: bytes) -> ApiAnswer:
        if len(raw) > MAX_ANSWER_BYTES:
            raise Refused(f"cannot use the daemon's answer: longer than {size(MAX_ANSWER_BYTES)}")
        try:
            text = raw.decode()
            data = json.loads(text, parse_int=_int)
        except (ValueError, RecursionError):
            text, data = "", None
        if not isinstance(data, dict):
            raise Unreachable(f"cannot use the answer from {self.path}: no JSON object; is that the daemon's socket?")
        answer = ApiAnswer(status, text, data)
        if status >= 400:
            raise RefusedAnswer(answer)
        return answer

    def _why(self, error: Exception, sent: bool) -> str:
        start = f"cannot reach the daemon at {self.path}"
        if isinstance(error, FileNotFoundError):
            return f"{start}: there is no such socket; is it running? (systemctl status modelward, or modelward run)"
        if isinstance(error, ConnectionRefusedError):
            return f"{start}: nobody listens there; is it running? (systemctl status modelward, or modelward run)"
        if isinstance(error, PermissionError):
            return f"{start}: not allowed; the socket is open to its owner and group (ls -l {self.path})"
        if sent and isinstance(error, ConnectionError):
            return (
                f"cannot tell how it ended: the daemon at {self.path} went away; look at modelward status and history"
            )
        if isinstance(error, http.client.IncompleteRead):
            return f"{start}: it broke off in the middle of its answer"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return f"{start}: {reason}"

    def events(self) -> Iterator[dict[str, Any]]:
        """The daemon's events as they come, without end. Raises Unreachable when the stream breaks."""
        # The daemon sends something, if only a comment, every 15 s; three in a row missed is a dead stream.
        connection = _UnixConnection(self.path, 45.0)
        try:
            connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(f"cannot follow events: the daemon answered {response.status}")
            yield from parse_events(iter(lambda: response.readline(MAX_EVENT_LINE_BYTES), b""))
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(self._why(e, sent=True)) from e
        finally:
            connection.close()


def parse_events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Server-sent events (WHATWG HTML, 9.2) from lines: comments are passed over, and data that is no JSON object."""
    name, data = "", list[str]()
    for raw in lines:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if not line:
            if data:
                try:
                    value = json.loads("\n".join(data))
                except (ValueError, RecursionError):
                    value = None
                if isinstance(value, dict):
                    yield {"event": name or "message", **value}
            name, data = "", []
            continue
        field, _, value_text = line.partition(":")
        value_text = value_text.removeprefix(" ")
        if field == "data":
            data.append(value_text)
        elif field == "event":
            name = value_text


def _int(text: str) -> int:
    """A number that a float can hold too, for sizes and spans are shown as such. Raises ValueError."""
    if len(text) > MAX_DIGITS:
        raise ValueError("too large a number")
    return int(text)


def refusal(answer: ApiAnswer) -> str:
    """The sentence in an answer that refuses."""
    error = answer.data.get("error")
    message = error.get("message") if isinstance(error, dict) else answer.data.get("message")
    text = message if isinstance(message, str) and message else f"the daemon answered {answer.status}"
    return text if text.startswith("cannot ") else f"cannot do that: {text}"


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _with_query(path: str, query: dict[str, Any]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _tick_until_readable(sock: socket.socket | None, seconds: float, on_tick: Callable[[], None]) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while sock is not None:
        poller = select.poll()  # select() cannot take descriptors above 1023
        poller.register(sock, select.POLLIN)
        if poller.poll(TICK_SECONDS * 1000):
            return
        if clock.monotonic() > deadline:
            raise TimeoutError
        on_tick()
