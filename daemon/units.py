"""Sizes, durations and shares as people write them, in both directions: "512MiB", "1h30m", "10%".

Pure. Every parser takes a number (bytes, seconds) or text and raises ValueError with a sentence that names the mistake
and what would be right. What `show_…` prints is exact: `parse_…` reads it back. Measured figures are rounded by `size`,
`span`, `percent` and `count`, the same for every program and the panel (worker/shared/quantities.py).
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

from ..worker.shared.quantities import (
    count,
    percent,
    size,
    span,
)

__all__ = [
    "DAY", "HOUR", "MAX_BYTES", "MINUTE", "YEAR", "DiskShare", "count", "describe", "parse_duration", "parse_share",
    "parse_size", "percent", "show_duration", "show_size", "shown", "size", "span",
]  # fmt: skip

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0
YEAR: Final = 366 * DAY
MAX_BYTES: Final = 2**63 - 1
_MAX_TEXT: Final = 64

_SIZES: Final = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_DURATIONS: Final = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": 1.0, "ms": 0.001}
_DURATION_ALIASES: Final = {"min": "m", "sec": "s"}
_NUMBER: Final = r"\d+(?:\.\d+)?"
_SIZE: Final = re.compile(rf"({_NUMBER})\s*([A-Za-z]*)", re.ASCII)
_DURATION_PART: Final = re.compile(rf"({_NUMBER})\s*([A-Za-z]+)\s*", re.ASCII)
_PERCENT: Final = re.compile(rf"({_NUMBER})\s*%", re.ASCII)


class DiskShare(NamedTuple):
    """A part of a file system: `percent` of it when that is set, else `size_bytes`."""

    percent: float | None = None
    size_bytes: int = 0

    def of(self, total_bytes: int) -> int:
        """The same in bytes, on a file system of `total_bytes`."""
        return self.size_bytes if self.percent is None else int(total_bytes * self.percent / 100)

    def __str__(self) -> str:
        return show_size(self.size_bytes) if self.percent is None else f"{self.percent:g}%"


def parse_size(value: object) -> int:
    """Bytes of 1048576, "512MiB", "5GB" or "0". MiB counts in 1024s, MB in 1000s."""
    right = 'a number of bytes or a text like "512MiB" or "5GB"'
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip()) if len(value) <= _MAX_TEXT else None
        if match is None:
            raise ValueError(f"{describe(value)} is no size; {right}")
        number, unit = match[1], match[2].lower()
        if unit in {"k", "m", "g", "t"}:
            big = unit.upper()
            raise ValueError(f"{describe(value)} is ambiguous; write {number}{big}iB (1024s) or {number}{big}B (1000s)")
        if unit and unit not in _SIZES:
            raise ValueError(f"{describe(value)} has an unknown unit; B, KiB, MiB, GiB, TiB, KB, MB, GB or TB")
        size = (int(number) if number.isdigit() else float(number)) * _SIZES[unit or "b"]
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise ValueError(f"{describe(value)} is no size; {right}")
    if not 0 <= size <= MAX_BYTES:
        raise ValueError(f"{describe(value)} is out of range; 0 to 8 EiB")
    return int(size)


def parse_duration(value: object) -> float:
    """Seconds of 90, 0.5, "500ms", "2s", "1h30m", "7d" or "0". Units run from large to small, each once."""
    right = 'a number of seconds or a text like "500ms", "2s", "1h30m" or "7d"'
    if isinstance(value, str):
        seconds = _duration_text(value) if len(value) <= _MAX_TEXT else None
        if seconds is None:
            raise ValueError(f"{describe(value)} is no duration; {right}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e300 else math.inf  # an integer may be too large for a float
    else:
        raise ValueError(f"{describe(value)} is no duration; {right}")
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{describe(value)} is out of range; 0 or more, and finite")
    return seconds


def _duration_text(text: str) -> float | None:
    text = text.strip()
    if re.fullmatch(_NUMBER, text, re.ASCII):
        return float(text)
    order = list(_DURATIONS)
    total, at, last = 0.0, 0, -1
    while at < len(text):
        match = _DURATION_PART.match(text, at)
        unit = _DURATION_ALIASES.get(match[2].lower(), match[2].lower()) if match else ""
        if match is None or unit not in _DURATIONS or order.index(unit) <= last:
            return None
        total, at, last = total + float(match[1]) * _DURATIONS[unit], match.end(), order.index(unit)
    return round(total, 6) if text else None


def parse_share(value: object) -> DiskShare:
    """A share of a file system: "10%" or any size."""
    if isinstance(value, str) and "%" in value:
        match = _PERCENT.fullmatch(value.strip()) if len(value) <= _MAX_TEXT else None
        if match is None or float(match[1]) > 100:
            raise ValueError(f'{describe(value)} is no share; "0%" to "100%", or a size like "20GiB"')
        return DiskShare(percent=float(match[1]))
    try:
        return DiskShare(size_bytes=parse_size(value))
    except ValueError as e:
        raise ValueError(f'{e}, or a share like "10%"') from e


def show_size(size_bytes: int) -> str:
    """The shortest exact text: 536870912 -> "512MiB", 5000000000 -> "5GB", 0 -> "0"."""
    if size_bytes == 0:
        return "0"
    for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "KB"):
        if size_bytes % _SIZES[unit.lower()] == 0:
            return f"{size_bytes // _SIZES[unit.lower()]}{unit}"
    return f"{size_bytes}B"


def show_duration(seconds: float) -> str:
    """The shortest exact text: 5400 -> "1h30m", 0.5 -> "500ms", 0 -> "0"."""
    if not math.isfinite(seconds) or seconds <= 0:
        return "0"
    rest, parts = round(seconds * 1000, 3), []
    for unit in ("d", "h", "m", "s"):
        each = _DURATIONS[unit] * 1000
        if rest >= each:
            parts.append(f"{int(rest // each)}{unit}")
            rest %= each
    if rest:
        parts.append(f"{rest:g}ms")
    return "".join(parts) or "0"


def shown(name: str) -> str:
    """A file name for people and JSON: lone surrogates (bytes that are no UTF-8) as escapes."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def describe(value: object) -> str:
    """A value as a short phrase of an error: quoted text, a number, or the name of its TOML type.

    What cannot be printed is escaped: a mistake is one line, and it must not steer a terminal.
    """
    if isinstance(value, str):
        short = value if len(value) <= 60 else value[:57] + "…"
        return '"' + "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in short) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # Python refuses to print integers beyond some thousand digits.
        return str(value) if value.bit_length() < 256 else "a very large number"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"
