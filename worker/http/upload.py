"""Reads one clip and its settings from a request's body as it arrives, into memory and nowhere else.

It bounds everything that a client controls: bytes, parts, names, field sizes, silence. It accepts a form with the clip
in one part, or the clip itself as the body. It must not read the audio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct, field
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from ..audio.raw import is_raw, type_of_name
from .client import client_of
from .context import Service
from .errors import ApiError, too_slow
from .middleware import Gone
from .upload_limits import Full, TooSlow

PARTS: Final = 32
FIELD_BYTES: Final = 4096
READ_FIELDS: Final = frozenset(
    {
        "model",
        "language",
        "response_format",
        "temperature",
        "stream",
        "include",
        "itn",
        "use_itn",
        "channels",
        "callback",
    }
    | {"timestamp_granularities"}
)
"""A field of these that is too long is refused. Any other is skipped, such as a long prompt, which has no effect."""
PREAMBLE_BYTES: Final = 4096
NAME_BYTES: Final = 100
TYPE_CHARS: Final = 2048
"""Of a Content-Type or Content-Disposition: reading its parameters takes the square of its length."""
PARAMETERS: Final = 32  # semicolons of such a header: each is another pass over the rest of it
OVERHEAD_BYTES: Final = 64 * 1024  # of a form around its clip
SILENT_SECONDS: Final = 30.0


class UploadedClip(Struct, eq=False):
    """An audio file's bytes and the text fields that came with it.

    `data` is None when there was no clip. `declared` is the declared type of the clip: the Content-Type, or what its
    name shows where that is no help. `fields` keeps the last field of each name, `repeated` all of them in order.
    `others` are the names of unexpected files.
    """

    data: bytearray | None = None
    declared: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


async def read_clip(
    request: Request, *, part: str, max_bytes: int, count: Callable[[int], None], seconds: float
) -> UploadedClip:
    """The clip in the form's part named `part`, or the whole body when its type is audio.

    `count` is called with the size of every piece kept and may raise. Raises ApiError: 400 for a bad form, 408 when the
    client is silent for SILENT_SECONDS or not done in `seconds`, 413 past `max_bytes`, 415 for other types; Gone when
    it left.
    """
    given = request.headers.get("content-type", "")
    if len(given) > TYPE_CHARS:
        text = f"cannot read the upload: its Content-Type is longer than {TYPE_CHARS} characters"
        raise ApiError(415, text, "unsupported_type")
    if given.count(";") > PARAMETERS:
        text = f"cannot read the upload: its Content-Type has more than {PARAMETERS} parameters"
        raise ApiError(400, text, "bad_form")
    kind, options = parse_options_header(given)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "cannot read the upload: compressed bodies are not taken", "unsupported_encoding")
    is_form = kind == b"multipart/form-data"
    if not is_form and not _is_audio(kind):
        raise ApiError(
            415,
            f"cannot read the upload: send multipart/form-data with a part {part!r}, or the audio itself with a "
            "Content-Type of audio/*",
            "unsupported_type",
        )
    chunks = _announced(request, max_bytes, OVERHEAD_BYTES if is_form else 0)
    async with _in_time(seconds):
        if is_form:
            return await _read_form(chunks, options.get(b"boundary", b""), part, max_bytes, count)
        return UploadedClip(await _read_raw(chunks, count), given)


async def read_body(
    request: Request, *, max_bytes: int, seconds: float, count: Callable[[int], None] = lambda amount: None
) -> bytearray:
    """The whole body as it is, whatever its type and encoding; `count` and the errors as in `read_clip`."""
    async with _in_time(seconds):
        return await _read_raw(_announced(request, max_bytes, 0), count)


async def read_small(request: Request, *, max_bytes: int, seconds: float) -> bytearray:
    """The small body of a request that runs no model; it takes a place among the uploads. Errors as above, and 503."""
    service: Service = request.app.state.service
    try:
        with service.uploads.held(client_of(request)) as upload:
            async with service.uploads.reading(upload) as count:
                return await read_body(request, max_bytes=max_bytes, seconds=seconds, count=count)
    except Full as e:
        raise ApiError(503, str(e), "busy") from e
    except TooSlow as e:
        raise too_slow(e) from e


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise too_slow("cannot read the upload: it did not come in time") from None


def _announced(request: Request, max_bytes: int, overhead_bytes: int) -> AsyncIterator[bytes]:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > max_bytes + overhead_bytes):
        raise _too_large(max_bytes)
    return _chunks(request, max_bytes + overhead_bytes, max_bytes)


def _is_audio(kind: bytes) -> bool:
    return kind.startswith((b"audio/", b"video/")) or kind in (b"application/octet-stream", b"application/ogg")


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(413, f"cannot take the upload: it is larger than {max_bytes} bytes", "upload_too_large")


async def _chunks(request: Request, limit: int, max_bytes: int) -> AsyncIterator[bytes]:
    service: Service = request.app.state.service
    total = 0
    more = True
    while more:
        await service.uploads.give_way(total)
        async with asyncio.timeout(SILENT_SECONDS):
            message = await request.receive()
        if message["type"] != "http.request":
            raise Gone
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        total += len(body)
        if total > limit:
            raise _too_large(max_bytes)
        if body:
            yield body


async def _read_raw(chunks: AsyncIterator[bytes], count: Callable[[int], None]) -> bytearray:
    data = bytearray()
    async for chunk in chunks:
        count(len(chunk))
        data += chunk
    return data


async def _read_form(
    chunks: AsyncIterator[bytes], boundary: bytes, part: str, max_bytes: int, count: Callable[[int], None]
) -> UploadedClip:
    if not boundary:
        raise ApiError(400, "cannot read the form: its Content-Type names no boundary", "bad_form")
    form = _FormParts(part, max_bytes, count)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        async for chunk in _without_preamble(chunks, b"--" + boundary):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as e:
        raise ApiError(400, f"cannot read the form: {e}", "bad_form") from e
    if not form.ended:
        raise ApiError(400, "cannot read the form: it ends before its last boundary", "bad_form")
    return form.clip


async def _without_preamble(chunks: AsyncIterator[bytes], first: bytes) -> AsyncIterator[bytes]:
    """The form from its first boundary on: the text before it is for readers that know no forms (RFC 2046 5.1.1)."""
    begun, held = False, b""
    async for chunk in chunks:
        if begun:
            yield chunk
            continue
        held += chunk
        start = held.find(b"\r\n" + first + b"\r\n", 0, PREAMBLE_BYTES + len(first) + 4)
        begun = held.startswith(first + b"\r\n") or start >= 0 or len(held) > PREAMBLE_BYTES + len(first) + 4
        if begun:
            yield held if held.startswith(first) or start < 0 else held[start:]
    if not begun:
        yield held


class _FormParts:
    """Collects the parts of a form while they arrive."""

    def __init__(self, part: str, max_bytes: int, count: Callable[[int], None]) -> None:
        self.clip = UploadedClip()
        self.ended = False
        self._part, self._max_bytes, self._count = part, max_bytes, count
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._name = ""
        self._is_file = False
        self._declared = self._suffix_type = ""
        self._text = bytearray()
        self._too_long = False

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._named,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS:
            raise ApiError(400, f"cannot read the form: more than {PARTS} parts", "bad_form")
        self._name, self._is_file, self._too_long = "", False, False
        self._declared = self._suffix_type = ""
        self._text.clear()
        self._header.clear()
        self._value.clear()

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            if len(self._value) > TYPE_CHARS:
                text = f"cannot read the form: a Content-Disposition is longer than {TYPE_CHARS} bytes"
                raise ApiError(400, text, "bad_form")
            if self._value.count(b";") > PARAMETERS:
                text = f"cannot read the form: a Content-Disposition has more than {PARAMETERS} parameters"
                raise ApiError(400, text, "bad_form")
            _, options = parse_options_header(bytes(self._value))
            name = options.get(b"name", b"")
            if len(name) > NAME_BYTES:
                raise ApiError(400, f"cannot read the form: a name is longer than {NAME_BYTES} bytes", "bad_form")
            self._name = name.decode("utf-8", "replace")
            self._is_file = b"filename" in options
            self._suffix_type = type_of_name(options.get(b"filename", b"").decode("utf-8", "replace"))
        elif bytes(self._header).lower() == b"content-transfer-encoding":
            encoding = bytes(self._value[:40]).strip().lower()
            if encoding not in (b"", b"binary", b"8bit", b"7bit"):
                text = f"cannot read the form: the transfer encoding {encoding.decode('latin-1')!r} is not taken"
                raise ApiError(415, text, "unsupported_encoding")
        elif bytes(self._header).lower() == b"content-type":
            self._declared = bytes(self._value[:TYPE_CHARS]).decode("latin-1")
        self._header.clear()
        self._value.clear()

    def _named(self) -> None:
        if self._name == self._part:
            if self.clip.data is not None:
                raise ApiError(400, f"cannot read the form: {self._part!r} comes twice", "bad_form")
            self.clip.data = bytearray()
            self.clip.declared = self._declared if is_raw(self._declared) else self._suffix_type
        elif self._is_file:
            self.clip.others.append(self._name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._part and self.clip.data is not None:
            self._count(end - start)
            if len(self.clip.data) + end - start > self._max_bytes:
                raise _too_large(self._max_bytes)
            self.clip.data += memoryview(data)[start:end]
            return
        if self._is_file or self._too_long:
            return
        if len(self._text) + end - start > FIELD_BYTES:
            if self._name.partition("[")[0] in READ_FIELDS:
                text = f"cannot read the form: the field {self._name!r} is longer than {FIELD_BYTES} bytes"
                raise ApiError(400, text, "bad_form", param=self._name)
            self._too_long = True
            return
        self._text += data[start:end]

    def _part_end(self) -> None:
        if self._name and self._name != self._part and not self._is_file and not self._too_long:
            text = self._text.decode("utf-8", "replace")
            self.clip.fields[self._name] = text
            self.clip.repeated.setdefault(self._name, []).append(text)

    def _end(self) -> None:
        self.ended = True
