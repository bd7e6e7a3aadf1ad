"""Unpacks a request's compressed body, in one pass and in small steps.

It bounds the unpacked size and the number of gzip members during unpacking. Between two steps the caller may end it. It
must not copy what is still to be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from .errors import ApiError

ENCODINGS: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
MEMBERS: Final = 10_000
FREE_MEMBERS: Final = 100
LEAST_BYTES: Final = 256
"""The average that members must hold once there are more than FREE_MEMBERS: each costs a step of Python."""
_READ_BYTES: Final = 16 << 10
_STEP_BYTES: Final = 1 << 20


def unpack(data: bytes | bytearray, window: int, max_bytes: int, go_on: Callable[[], None] = lambda: None) -> bytearray:
    """Unpacks a whole compressed body. `go_on` is called all along and may raise.

    Raises ApiError: 400 for damaged data, more than MEMBERS members, or many that hold almost nothing; 413 for more
    than `max_bytes`.
    """
    found = bytearray()
    with memoryview(data) as view:
        position = members = 0
        while position < len(view):
            members += 1
            if members > MEMBERS:
                raise ApiError(400, f"cannot read the request: its body has more than {MEMBERS} members", "bad_request")
            if members > FREE_MEMBERS and len(found) < (members - 1) * LEAST_BYTES:
                text = f"cannot read the request: its body has {members} members that hold next to nothing"
                raise ApiError(400, text, "bad_request")
            position = _member(view, position, window, max_bytes, found, go_on)
    return found


def _member(
    view: memoryview, position: int, window: int, max_bytes: int, found: bytearray, go_on: Callable[[], None]
) -> int:
    """Adds the member at `position` to the result; returns where the next one begins."""
    stream = zlib.decompressobj(window)
    try:
        while not stream.eof:
            go_on()
            unread: bytes | memoryview = stream.unconsumed_tail
            if not unread:
                unread = view[position : position + _READ_BYTES]
                position += len(unread)
            more = stream.decompress(unread, min(_STEP_BYTES, max_bytes + 1 - len(found)))
            found += more
            if len(found) > max_bytes:
                text = f"cannot take the request: unpacked it is larger than {max_bytes} bytes"
                raise ApiError(413, text, "too_large")
            if not unread and not more and not stream.eof:
                raise ApiError(400, "cannot read the request: its compressed body ends early", "bad_request")
    except zlib.error as e:
        raise ApiError(400, f"cannot read the request: its compressed body is damaged ({e})", "bad_request") from e
    return position - len(stream.unused_data)
