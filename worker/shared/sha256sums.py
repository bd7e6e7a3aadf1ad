"""Reads SHA256SUMS as coreutils' `sha256sum` does, and writes it: both marks, escaped names, `./` in front, comments.

Pure. It lists what should be there; the integrity gate compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from .checksums import MAX_SUMS_BYTES

_LINE: Final = re.compile(r"(\\?)([0-9A-Fa-f]{64}) [ *](.+)")
_ESCAPE: Final = re.compile(r"\\(.?)")
_ESCAPED: Final = {"\\": "\\", "n": "\n", "r": "\r"}


class BadSums(ValueError):
    """A list of checksums that cannot be used; the text names the line and the reason."""


def parse_sums(data: bytes) -> dict[str, str]:
    """SHA-256 (lower-case hex) by relative file name. Raises BadSums for anything that is not such a list."""
    if len(data) > MAX_SUMS_BYTES:
        raise BadSums(f"over {MAX_SUMS_BYTES} bytes")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as e:
        raise BadSums("not UTF-8") from e
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        name, sha256 = _entry(line, number)
        if sums.setdefault(name, sha256) != sha256:
            raise BadSums(f"line {number}: {name} is listed twice with different sums")
    if not sums:
        raise BadSums("it lists nothing")
    return sums


def written_sums(sums: Mapping[str, str], comments: Iterable[str] = ()) -> bytes:
    """The list of these SHA-256 by name, after one line for each comment."""
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    for name, sha256 in sorted(sums.items()):
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        mark = "" if escaped == name else "\\"
        lines.append(f"{mark}{sha256}  {escaped}")
    return ("\n".join(lines) + "\n").encode()


def _entry(line: str, number: int) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadSums(f"line {number} is not `<64 hex digits>  <name>`")
    escaped, sha256, name = match.groups()
    if escaped:
        name = _ESCAPE.sub(lambda m: _unescaped(m.group(1), number), name)
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise BadSums(f"line {number}: {name!r} is not a name inside the version")
    return name, sha256.lower()


def _unescaped(character: str, number: int) -> str:
    if character not in _ESCAPED:
        raise BadSums(f"line {number}: unknown escape \\{character}")
    return _ESCAPED[character]
