"""Sends one clip with a known text to the service's port, as a client does, and compares the text that comes back.

It reads no file: the clip is given. Invariant: it ends within the time of the job and keeps at most MAX_ANSWER_BYTES
of an answer, whatever listens there.
"""

from __future__ import annotations

import asyncio
import os
from time import perf_counter
from typing import Final

import httptools
import msgspec

from ...worker.shared.unreadable import UNREADABLE
from .probe_clip import ProbeClip
from .probe_record import ProbeAnswer, ProbeJob
from .probe_text import error_rate

MAX_ANSWER_BYTES: Final = 1 << 20
BOUNDARY: Final = "modelward-probe-4f1c9a"
MAX_SHOWN_CHARS: Final = 200
_READ_BYTES: Final = 64 * 1024


class _Unreadable(Exception):
    """The answer is no whole HTTP response of at most MAX_ANSWER_BYTES."""


class _Response:
    """What the parser found. The names of the methods are those that httptools calls."""

    def __init__(self) -> None:
        self.status, self.version, self.body, self.complete = 0, "", bytearray(), False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-model-version":
            self.version = value.decode("utf-8", "replace")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


async def send_clip(job: ProbeJob, clip: ProbeClip) -> ProbeAnswer:
    """The outcome of one request."""
    began, version, text = perf_counter(), "", ""
    try:
        async with asyncio.timeout(job.seconds):
            response = await _response(job, clip)
        version = response.version
        text, because = _compared(job, clip, response)
    except TimeoutError:
        because = f"no answer within {job.seconds:g} s"
    except OSError as e:
        because = f"no connection: {os.strerror(e.errno) if e.errno else type(e).__name__}"
    except (httptools.HttpParserError, _Unreadable, ValueError, *UNREADABLE) as e:
        because = f"its answer cannot be read: {type(e).__name__.lstrip('_')}"
    return ProbeAnswer(
        because=because[:500],
        seconds=round(perf_counter() - began, 4),
        version=version[:255],
        clip=clip.name[:255],
        expected=clip.text[:MAX_SHOWN_CHARS],
        got=text[:MAX_SHOWN_CHARS],
    )


async def _response(job: ProbeJob, clip: ProbeClip) -> _Response:
    """The whole response. Raises OSError, HttpParserError, _Unreadable."""
    reader, writer = await asyncio.open_connection(job.host, job.port)
    try:
        writer.write(_request(job, clip))
        await writer.drain()
        response, size = _Response(), 0
        while not response.complete:
            data = await reader.read(_READ_BYTES)
            size += len(data)
            if not data or size > MAX_ANSWER_BYTES:
                raise _Unreadable
            response.feed(data)
        return response
    finally:
        writer.transport.abort()


def _request(job: ProbeJob, clip: ProbeClip) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="audio"; filename="probe.wav"\r\n'
    body = f"{head}Content-Type: audio/wav\r\n\r\n".encode() + clip.data + f"\r\n--{BOUNDARY}--\r\n".encode()
    host = f"[{job.host}]" if ":" in job.host else job.host
    headers = {
        "Host": f"{host}:{job.port}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(body)),
        "User-Agent": "modelward-probe",
        "Connection": "close",
        **({"Authorization": f"Bearer {clip.token}"} if clip.token else {}),
    }
    lines = ("POST /api/predict HTTP/1.1", *map(": ".join, headers.items()), "", "")
    return "\r\n".join(lines).encode() + body


def _compared(job: ProbeJob, clip: ProbeClip, response: _Response) -> tuple[str, str]:
    """The text that came back, and why it is not the right one, "" when it is. Raises UNREADABLE for no JSON."""
    if response.status != 200:
        return "", f"it answered {response.status}{_reason(response.body)}"
    answer = msgspec.json.decode(response.body)
    text = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(text, str):
        return "", "its answer holds no text"
    rate = error_rate(text, clip.text)
    if rate > job.max_error_rate:
        most = f"error rate {rate:.2f}, at most {job.max_error_rate:.2f}"
        return text, f"{clip.name} was heard as {text[:100]!r}, not {clip.text[:100]!r} ({most})"
    return text, ""


def _reason(body: bytearray) -> str:
    try:
        return f": {msgspec.json.decode(body)['error']['message']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
