"""The lines of a log: JSON objects of bounded length, each a line of its own whatever the fields hold.

Pure but for `now`. Invariant: a line is valid UTF-8, ends in the one newline that it has, and is never longer than the
limit. One that was too long keeps its beginning, or the end of a traceback; `truncated` is the length that it had.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

LINE_BYTES: Final = 64 * 1024
PIPE_BYTES: Final = 4096
"""What a pipe takes as one piece, however many write to it (PIPE_BUF)."""
_FIELDS: Final = 24
_CHARS: Final = (1024, 256, 64)


def now() -> str:
    """The time for people and JSON: RFC 3339 in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line_of(fields: MutableMapping[str, Any], most_bytes: int = LINE_BYTES) -> bytes:
    """One JSON line, newline included, at most so long.

    Lone surrogates (file names that are no UTF-8) become JSON escapes.
    """
    line = _dump(fields)
    whole = len(line)
    for chars in _CHARS:
        if len(line) <= most_bytes:
            return line
        kept = {key: _kept(key, value, chars) for key, value in list(fields.items())[:_FIELDS]}
        line = _dump({**kept, "truncated": whole})
    if len(line) <= most_bytes:
        return line
    return _dump({"time": now(), "event": "line too long", "truncated": whole})


def shortened(value: Any, chars: int) -> Any:
    """The value, as a text of at most so many characters unless it is a number, a truth value or nothing."""
    return value if isinstance(value, int | float | bool | None) else str(value)[:chars]


def _kept(key: str, value: Any, chars: int) -> Any:
    if key == "exception":  # its last lines are the most useful
        return str(value)[-chars:]
    return shortened(value, chars)


def _dump(fields: MutableMapping[str, Any]) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "backslashreplace") + b"\n"
