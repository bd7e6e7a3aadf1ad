"""Sizes, durations, shares and counts as texts for people: "1.5KiB", "1h6m", "62.5%", "2 files".

Pure. The panel's format.js follows the same rules; a test compares the two over one table. The units are those of the
configuration, so that a text may be pasted there. Halves are rounded up, with the same arithmetic as in JavaScript.
"""

from __future__ import annotations

import math
from typing import Final

_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_MOST_BYTES: Final = 2.0**100
"""What is more is shown as this: no text of ours is longer because a number is."""
_MOST_SECONDS: Final = 1e12
_SPANS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def size(count_bytes: float) -> str:
    """Bytes in 1024s: 5368709120 -> "5GiB", 1536 -> "1.5KiB", 100 -> "100B"."""
    if count_bytes < 0:
        return f"-{size(-count_bytes)}"
    value, unit = float(min(count_bytes, _MOST_BYTES)), 0
    while value >= 1023.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1024, unit + 1
    return f"{_number(value, 100 if unit else 0)}{_SIZES[unit]}"


def span(seconds: float) -> str:
    """Two units at most, the rest is cut off: 4000 -> "1h6m", 90 -> "1m30s", 2.34 -> "2.3s", 0.012 -> "12ms".

    Less than zero is "0s".
    """
    if seconds <= 0:
        return "0s"
    if seconds < 0.9995:
        return f"{_number(seconds * 1000, 10)}ms"
    if seconds < 10:
        return f"{_number(seconds, 10)}s"
    parts: list[str] = []
    rest = math.floor(min(seconds, _MOST_SECONDS) + 0.5)
    for unit, each in _SPANS:
        if rest >= each or parts:
            parts.append(f"{rest // each}{unit}")
            rest %= each
        if len(parts) == 2:
            break
    return "".join(part for part in parts if not part.startswith("0"))


def percent(value: float) -> str:
    """62.5 -> "62.5%"."""
    return f"{_number(value, 100)}%"


def count(number: int, noun: str, nouns: str = "") -> str:
    """1, "file" -> "1 file"; 1200 -> "1,200 files". `nouns` is the plural where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def _number(value: float, whole_from: int) -> str:
    """With one decimal below `whole_from`, unless that is a zero; as a whole number from there on."""
    tenths = math.floor(value * 10 + 0.5)
    if tenths >= whole_from * 10:
        return str(math.floor(value + 0.5))
    return f"{tenths // 10}.{tenths % 10}".removesuffix(".0")
