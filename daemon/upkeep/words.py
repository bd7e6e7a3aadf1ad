"""Sizes and spans of time as people write them in the configuration. Pure."""

from __future__ import annotations

_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_SPANS = ((86400, "d"), (3600, "h"), (60, "m"))


def size(count_bytes: float) -> str:
    """`5368709120` as "5GiB", `1500` as "1.5KiB"."""
    for unit, name in _SIZES:
        if abs(count_bytes) >= unit:
            return f"{count_bytes / unit:.1f}".removesuffix(".0") + name
    return f"{count_bytes:.0f}B"


def span(seconds: float) -> str:
    """`86400` as "1d", `90` as "1.5m", `600` as "10m"."""
    for unit, name in _SPANS:
        if abs(seconds) >= unit:
            return f"{seconds / unit:.1f}".removesuffix(".0") + name
    return f"{seconds:.0f}s"


def count(number: int, noun: str) -> str:
    """`1, "file"` as "1 file"; `2` as "2 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shown(name: str) -> str:
    """A file name for people and JSON: lone surrogates (bytes that are no UTF-8) as escapes."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
