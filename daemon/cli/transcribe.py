"""`modelward transcribe FILE...`: sends audio to the service and prints the text of each file.

A file is streamed, never held whole. An answer that comes before the upload is done (too big, not allowed) is read all
the same.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import (
    BadUsage,
    ModelwardError,
    Refused,
    Unreachable,
)
from ..system.safe_read import open_regular
from ..units import size
from .render import clean
from .transcribe_job import outcome_of, parsed

DEFAULT_URL: Final = "http://127.0.0.1:7860"
MAX_ANSWER_BYTES: Final = 64 << 20
_CONNECT_SECONDS: Final = 10.0
_CHUNK: Final = 256 << 10
_MAX_TOKEN_BYTES: Final = 4096


class _Service(NamedTuple):
    tls: bool
    host: str
    port: int
    base: str
    token: str
    seconds: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE..., --url, --language, --itn, --json, --job, --token-file, --timeout."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="audio: WAV, FLAC, OGG or MP3")
    parser.add_argument("--url", default="", help=f"the service (default $MODELWARD_URL or {DEFAULT_URL})")
    parser.add_argument("--language", default="", help="zh, en, yue, ja, ko or auto")
    parser.add_argument("--itn", action="store_true", help="with punctuation, numbers as digits")
    parser.add_argument("--json", action="store_true", help="print the service's answers as JSON, one a line")
    parser.add_argument("--job", action="store_true", help="as a job: for long recordings, through proxies too")
    parser.add_argument("--token-file", metavar="FILE", default="", help="file whose first line is the bearer token")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=600.0, help="for each file (default 600)")


def run(args: argparse.Namespace) -> int:
    """0 all answered, 1 one or more refused, 3 nobody answers."""
    fields = {"language": args.language} if args.language else {}
    if args.itn:
        fields["itn"] = "true"
    url = args.url or os.environ.get("MODELWARD_URL", "") or DEFAULT_URL
    token = _token(args.token_file) if args.token_file else ""
    return send(url, args.files, fields, token=token, seconds=args.timeout, as_json=args.json, job=args.job)


def send(
    url: str,
    files: Sequence[str],
    fields: Mapping[str, str] | None = None,
    *,
    token: str = "",
    seconds: float = 600.0,
    as_json: bool = False,
    job: bool = False,
) -> int:
    """Sends files one after another and prints what each says; the exit status. Raises Unreachable, BadUsage."""
    service = _service(url, token, seconds)
    status = 0
    for name in files:
        try:
            text, data = _as_job(service, name, fields or {}) if job else _predict(service, name, fields or {})
        except Unreachable:
            raise
        except ModelwardError as e:
            print(e, file=sys.stderr)
            status = e.exit_status
            continue
        if as_json:
            print(text.strip())
        else:
            result = clean(data.get("result"))
            print(f"{clean(name)}: {result}" if len(files) > 1 else result)
        sys.stdout.flush()
    return status


def _service(url: str, token: str, seconds: float) -> _Service:
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
    return _Service(tls, parts.hostname, port or (443 if tls else 80), parts.path.rstrip("/"), token, seconds)


def _token(path: str) -> str:
    try:
        with open_regular(path) as file:
            line = file.readline(_MAX_TOKEN_BYTES).strip()
    except OSError as e:
        raise BadUsage(f"cannot read the token in {path}: {e.strerror}") from e
    token = line.decode("ascii", "replace")
    if not token.isascii() or not token.isprintable() or not token:
        raise BadUsage(f"cannot use the token in {path}: its first line must be printable ASCII")
    return token


def _predict(service: _Service, name: str, fields: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The answer for one file, as text and as data. Raises Refused with the reason, or Unreachable."""
    with _open(name) as file:
        status, raw = _post(service, file, Path(name).name, fields)
    data = _read(name, status, raw)
    return raw.decode(errors="replace"), data


def _as_job(service: _Service, name: str, fields: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The same by way of a job."""

    def ask(method: str, path: str) -> tuple[int, dict[str, Any]]:
        status, raw = _exchange(
            service, lambda connection: connection.request(method, f"{service.base}{path}", headers=_headers(service))
        )
        return status, parsed(raw)

    # The answer's shape is that of /api/predict, and so is the default for figures.
    form = {"itn": "false", **fields, "response_format": "predict"}
    with _open(name) as file:
        status, raw = _post(service, file, Path(name).name, form, route="/v1/jobs", part="file")
    result = outcome_of(_read(name, status, raw), name, ask, patience_seconds=service.seconds)
    return json.dumps(result, ensure_ascii=False), result


def _read(name: str, status: int, raw: bytes) -> dict[str, Any]:
    """The JSON of an answer. Raises Refused with the reason."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Refused(f"cannot transcribe {clean(name)}: the service answered {status} and no JSON")
    if status >= 400:
        error = data.get("error")
        message = clean(error.get("message")) if isinstance(error, dict) else f"the service answered {status}"
        raise Refused(f"cannot transcribe {clean(name)}: {message.removeprefix('cannot transcribe: ')}")
    return data


def _open(name: str) -> IO[bytes]:
    try:
        return open_regular(name)
    except OSError as e:
        raise Refused(f"cannot read {clean(name)}: {e.strerror}") from e


def _post(
    service: _Service,
    file: IO[bytes],
    name: str,
    fields: Mapping[str, str],
    *,
    route: str = "/api/predict",
    part: str = "audio",
) -> tuple[int, bytes]:
    return _exchange(service, lambda connection: _send(connection, service, file, name, fields, route, part))


def _exchange(service: _Service, send: Callable[[http.client.HTTPConnection], None]) -> tuple[int, bytes]:
    """Status and body of the answer to what `send` sends. Raises Unreachable, Refused."""
    kind = http.client.HTTPSConnection if service.tls else http.client.HTTPConnection
    connection = kind(service.host, service.port, timeout=_CONNECT_SECONDS)
    where = f"{service.host}:{service.port}"
    try:
        connection.connect()
        connection.sock.settimeout(service.seconds)
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer came early: read it
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


def _send(
    connection: http.client.HTTPConnection,
    service: _Service,
    file: IO[bytes],
    name: str,
    fields: Mapping[str, str],
    route: str,
    part: str,
) -> None:
    boundary = secrets.token_hex(16)
    head = b"".join(_field(boundary, key, value) for key, value in fields.items()) + (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="{quote(name)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode("ascii")
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = os.fstat(file.fileno()).st_size
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + length + len(tail)),
        **_headers(service),
    }
    connection.request("POST", f"{service.base}{route}", _body(head, file, length, tail), headers)


def _headers(service: _Service) -> dict[str, str]:
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {service.token}"} if service.token else {})


def _field(boundary: str, key: str, value: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()


def _body(head: bytes, file: IO[bytes], length: int, tail: bytes) -> Iterator[bytes]:
    """As many bytes as were announced: a file that grows meanwhile is cut, one that shrinks ends the connection."""
    yield head
    while length > 0:
        chunk = file.read(min(_CHUNK, length))
        if not chunk:
            raise Refused("cannot send the file: it became shorter meanwhile")
        length -= len(chunk)
        yield chunk
    yield tail
