"""Sends one file to the service, and reads its answer.

A file is streamed and never held whole; one of unknown length is sent in chunks. An answer that comes before the end of
the upload (too big, not allowed) is read. It must not print. Invariant: as many bytes are sent as were announced.
"""

from __future__ import annotations

import http.client
import os
import secrets
import select
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Final, NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import BadUsage, Refused, Unreachable
from ..units import size
from .upload_progress import UploadProgress

MAX_ANSWER_BYTES: Final = 64 << 20
_CONNECT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.2
_CHUNK: Final = 256 << 10


class SpeechService(NamedTuple):
    """The address of the service, the token, and the time limit of a request."""

    tls: bool
    host: str
    port: int
    base: str
    token: str
    seconds: float


def service_at(url: str, token: str, seconds: float) -> SpeechService:
    """Raises BadUsage for what is no address."""
    wrong = BadUsage(f"cannot use the address {url!r}: http://HOST:PORT or https://HOST:PORT")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise wrong from e
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or not parts.path.isascii():
        raise wrong
    if not 0 < seconds < 1e6:
        raise BadUsage(f"cannot wait {seconds:g} s: --timeout takes more than 0")
    tls = parts.scheme == "https"
    return SpeechService(tls, parts.hostname, port or (443 if tls else 80), parts.path.rstrip("/"), token, seconds)


def length_of(file: IO[bytes]) -> int | None:
    """What is left of a regular file, None for a pipe."""
    told = os.fstat(file.fileno())
    return max(0, told.st_size - file.tell()) if stat.S_ISREG(told.st_mode) else None


def post_file(
    service: SpeechService,
    path: str,
    part: str,
    name: str,
    file: IO[bytes],
    fields: Mapping[str, str],
    progress: UploadProgress,
) -> tuple[int, bytes]:
    """The answer's status and body. Raises Refused, Unreachable."""

    def send(connection: http.client.HTTPConnection) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer came early: read it
            _send(connection, service, path, part, name, file, fields, progress)
        _wait(connection, service.seconds, progress)

    try:
        return _exchanged(service, send)
    finally:
        progress.end()


def exchange(service: SpeechService, method: str, path: str) -> tuple[int, bytes]:
    """The same for a request without a body."""
    return _exchanged(
        service, lambda connection: connection.request(method, f"{service.base}{path}", None, _headers(service))
    )


def _exchanged(service: SpeechService, send: Callable[[http.client.HTTPConnection], None]) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if service.tls else http.client.HTTPConnection
    connection = kind(service.host, service.port, timeout=_CONNECT_SECONDS)
    where = f"{service.host}:{service.port}"
    try:
        connection.connect()
        connection.sock.settimeout(service.seconds)
        send(connection)
        response = connection.getresponse()
        raw = response.read(MAX_ANSWER_BYTES + 1)
    except TimeoutError as e:
        raise Unreachable(f"cannot reach the service at {where}: no answer in time") from e
    except (OSError, http.client.HTTPException) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e) or type(e).__name__
        raise Unreachable(f"cannot reach the service at {where}: {reason}") from e
    finally:
        connection.close()
    if len(raw) > MAX_ANSWER_BYTES:
        raise Refused(f"cannot use the service's answer: longer than {size(MAX_ANSWER_BYTES)}")
    return response.status, raw


def _headers(service: SpeechService) -> dict[str, str]:
    return {"Accept": "*/*"} | ({"Authorization": f"Bearer {service.token}"} if service.token else {})


def _wait(connection: http.client.HTTPConnection, seconds: float, progress: UploadProgress) -> None:
    """Until something comes, for as long as an answer has."""
    for _ in range(int(seconds / _LOOK_SECONDS) + 1):
        progress.waits()
        if select.select([connection.sock], [], [], _LOOK_SECONDS)[0]:
            return
    raise TimeoutError


def _send(
    connection: http.client.HTTPConnection,
    service: SpeechService,
    path: str,
    part: str,
    name: str,
    file: IO[bytes],
    fields: Mapping[str, str],
    progress: UploadProgress,
) -> None:
    boundary = secrets.token_hex(16)
    head = b"".join(_field(boundary, key, value) for key, value in fields.items()) + (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="{quote(name)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode("ascii")
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = length_of(file)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", **_headers(service)}
    if length is not None:
        headers["Content-Length"] = str(len(head) + length + len(tail))
    else:
        headers["Transfer-Encoding"] = "chunked"
    body = _body(head, file, length, tail, progress)
    connection.request("POST", f"{service.base}{path}", body, headers, encode_chunked=length is None)


def _field(boundary: str, key: str, value: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()


def _body(head: bytes, file: IO[bytes], length: int | None, tail: bytes, progress: UploadProgress) -> Iterator[bytes]:
    """As many bytes as were announced: a file that grows meanwhile is cut, one that shrinks ends the connection."""
    yield head
    while length is None or length > 0:
        chunk = file.read(_CHUNK if length is None else min(_CHUNK, length))
        if not chunk and length is None:
            break
        if not chunk:
            raise Refused("cannot send the file: it became shorter meanwhile")
        if length is not None:
            length -= len(chunk)
        yield chunk
        progress.sent(len(chunk))
    yield tail
