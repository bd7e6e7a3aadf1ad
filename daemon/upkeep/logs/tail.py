"""The last lines of a log as one bounded answer: limits for the bytes read, for each line and for all lines.

It reads only what was there when it began. A line that is too long is cut, and the text gives how much is missing.
Lines that do not fit are left out, the oldest first, and the answer reports that. Invariant: as JSON the lines take at
most ANSWER_BYTES, unless there is only one.
"""

from __future__ import annotations

import json
import os
from typing import Final

from msgspec import Struct

from ...units import size
from . import collapse_marker
from .follow import MAX_TAIL_LINES, opened, start_of_tail

LOOK_BACK_BYTES: Final = 2 << 20
LINE_BYTES: Final = 64 * 1024
ANSWER_BYTES: Final = 2 << 20


class Tail(Struct, frozen=True):
    """`truncated`: a line was cut, or there were older lines that would have been shown."""

    lines: list[str]
    truncated: bool = False


def tail(path: str, lines: int, *, dir_fd: int | None = None) -> Tail:
    """The last `lines` lines (at most MAX_TAIL_LINES), undecodable bytes replaced. Raises OSError.

    With `dir_fd` the path is a single name in that directory.
    """
    fd, found = opened(path, dir_fd)
    try:
        end = found.st_size
        offset = start_of_tail(fd, end, min(lines, MAX_TAIL_LINES), LOOK_BACK_BYTES)
        data = _read(fd, offset, end)
    finally:
        os.close(fd)
    return last(data, min(lines, MAX_TAIL_LINES), begins=offset == 0)


def _read(fd: int, offset: int, end: int) -> bytes:
    data = bytearray()
    while offset < end and (chunk := os.pread(fd, end - offset, offset)):
        data += chunk
        offset += len(chunk)
    return bytes(data)


def last(data: bytes, lines: int, *, begins: bool) -> Tail:
    """The last `lines` lines of these bytes. Pure. `begins`: the bytes begin at the start of a line."""
    if lines <= 0:
        return Tail([])
    found = data.removesuffix(b"\n").split(b"\n")
    first, left, shown, cut = 0 if begins else 1, ANSWER_BYTES, list[str](), False
    for index in range(len(found) - 1, -1, -1):
        line = found[index]
        if not line or collapse_marker.read_mark(line) is not None:
            continue
        if len(shown) == lines:
            return Tail(shown[::-1], cut)
        text = _cut(line, begins=index >= first)
        left -= len(json.dumps(text, ensure_ascii=False).encode()) + 1
        if left < 0 and shown:
            return Tail(shown[::-1], True)
        cut = cut or len(line) > LINE_BYTES or index < first
        shown.append(text)
    return Tail(shown[::-1], cut or not begins)


def _cut(line: bytes, *, begins: bool) -> str:
    missing = len(line) - LINE_BYTES
    text = (line[:LINE_BYTES] if begins else line[-LINE_BYTES:]).decode("utf-8", "replace")
    if not begins:
        return f"[the line begins before this] {text}"
    return f"{text} [{size(missing)} more of this line]" if missing > 0 else text
