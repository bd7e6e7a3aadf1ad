"""What crosses between the daemon and the process that sweeps and counts for it: JSON lines on a socket pair.

A request goes out; questions (may this unit go?) come back and are answered; one result ends it. Pure shapes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ...answers.disk import ListedPath
from .outcome import SweepOutcome
from .quota import ClassRule
from .sweep import Orders
from .usage import DiskUsage

MAX_LINE_BYTES: Final = 32 << 20


class SweepRequest(msgspec.Struct, frozen=True, tag="sweep"):
    """Do one pass; with `listing` name each path that goes."""

    orders: Orders
    listing: bool = False


class CountRequest(msgspec.Struct, frozen=True, tag="count"):
    """Count what the classes hold, and what deleted files these processes keep."""

    rules: list[ClassRule]
    pids: list[int]


class Question(msgspec.Struct, frozen=True, tag="ask"):
    """Why must this unit of this class stay?"""

    rule: str
    unit: str


class Counting(msgspec.Struct, frozen=True, tag="counting"):
    """How far a count is."""

    rule: str
    files: int
    bytes: int


class Swept(msgspec.Struct, frozen=True, tag="swept"):
    """The end of a sweep."""

    outcome: SweepOutcome
    listed: list[ListedPath]


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """The end of a count."""

    usage: DiskUsage


Request = SweepRequest | CountRequest
Reply = Question | Counting | Swept | Counted

_encoder = msgspec.json.Encoder()
requests: Final = msgspec.json.Decoder(Request)
replies: Final = msgspec.json.Decoder(Reply)
answers: Final = msgspec.json.Decoder(str)


def read_reply(line: bytes) -> Reply:
    """The message in one line of the sweeper's. Raises ValueError when it is none."""
    try:
        reply: Reply = replies.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ValueError(f"no message: {e}") from e
    return reply


def encode(message: Request | Reply | str) -> bytes:
    """One line, newline included. File names that are no UTF-8 are written with backslashes."""
    return _encoder.encode(message) + b"\n"
