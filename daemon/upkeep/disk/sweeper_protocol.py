"""The messages between the daemon and the process that sweeps and counts for it: JSON lines on a socket pair.

The daemon sends one request. The process may send questions (may this unit go?), which the daemon answers. One result
ends the exchange. Pure shapes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ....worker.shared.unreadable import UNREADABLE
from ...answers.disk import ListedPath
from .outcome import SweepOutcome
from .quota import ClassRule
from .sweep import Orders
from .usage import DiskUsage

MAX_LINE_BYTES: Final = 32 << 20


class SweepRequest(msgspec.Struct, frozen=True, tag="sweep"):
    """Do one pass; with `listing`, name each path that would go."""

    orders: Orders
    listing: bool = False


class CountRequest(msgspec.Struct, frozen=True, tag="count"):
    """Count what the classes hold, and the deleted files that these processes keep open."""

    rules: list[ClassRule]
    pids: list[int]


class Question(msgspec.Struct, frozen=True, tag="ask"):
    """Asks why this unit of this class must stay."""

    rule: str
    unit: str


class Counting(msgspec.Struct, frozen=True, tag="counting"):
    """How far a count is."""

    rule: str
    files: int
    bytes: int


class Swept(msgspec.Struct, frozen=True, tag="swept"):
    """The result of a sweep."""

    outcome: SweepOutcome
    listed: list[ListedPath]


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """The result of a count."""

    usage: DiskUsage


Request = SweepRequest | CountRequest
Reply = Question | Counting | Swept | Counted

_encoder = msgspec.json.Encoder()
requests: Final = msgspec.json.Decoder(Request)
replies: Final = msgspec.json.Decoder(Reply)
answers: Final = msgspec.json.Decoder(str)


def read_reply(line: bytes) -> Reply:
    """The message in one line from the sweeper. Raises ValueError when the line is no message."""
    try:
        reply: Reply = replies.decode(line)
    except UNREADABLE as e:
        raise ValueError(f"no message: {e}") from e
    return reply


def encode(message: Request | Reply | str) -> bytes:
    """One line, newline included. Bytes of file names that are not UTF-8 are written with backslashes."""
    return _encoder.encode(message) + b"\n"
