"""Text for terminals: tables, sizes, ages and colour.

Pure, except that it checks whether a stream is a terminal. Text from elsewhere never reaches a terminal with control
characters in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

from .. import units
from .columns import shorten, width
from .language import label, local_text

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
Cell = str | tuple[str, str]
"""A text, or a text and its colour."""


def colours(stream: TextIO) -> bool:
    """Whether colour helps there: a terminal, and NO_COLOR is not set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, on: bool) -> str:
    """The text in a colour of _CODES; "" leaves it."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if on and colour in _CODES else text


def clean(value: object) -> str:
    """One line that cannot steer a terminal: what is not printable becomes a space or `?`."""
    try:
        text = "" if value is None else str(value)
    except RecursionError:  # lists in lists without end
        text = "?"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], *, columns: int = 0, colour: bool = False) -> str:
    """Aligned rows under headers, in the language of this command.

    With `columns` the last cell is cut so that a row fits a terminal of that width.
    """
    headers = [label(header) for header in headers]
    cells = [[_local(c, "") if isinstance(c, str) else _local(*c) for c in row] for row in rows]
    widths = [max([width(h), *(width(row[i][0]) for row in cells)]) for i, h in enumerate(headers)]
    last = len(headers) - 1
    if columns:
        widths[last] = min(widths[last], max(10, columns - sum(widths[:last]) - 2 * last))
    lines = [_line([(h, "bold") for h in headers], widths, colour)]
    lines += [
        _line([*row[:last], (shorten(row[last][0], widths[last]), row[last][1])], widths, colour) for row in cells
    ]
    return "\n".join(lines)


def _local(text: str, colour: str) -> tuple[str, str]:
    return local_text(clean(text)), colour


def _line(cells: Sequence[tuple[str, str]], widths: Sequence[int], colour: bool) -> str:
    parts = []
    for index, (text, how) in enumerate(cells):
        pad = "" if index == len(cells) - 1 else " " * (widths[index] - width(text))
        parts.append(paint(text, how, colour) + pad)
    return "  ".join(parts).rstrip()


def parse_time(text: str) -> datetime | None:
    """A time of the API (RFC 3339); None when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def age(text: str, now: datetime) -> str:
    """How long ago a time of the API was; "-" when there is none."""
    moment = parse_time(text)
    return units.span((now - moment).total_seconds()) if moment else "-"


def local(text: str) -> str:
    """A time of the API on the reader's own clock, to the second."""
    moment = parse_time(text)
    if moment is None:
        return clean(text)
    try:
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):  # the first and the last day that a calendar knows
        return clean(text)


def terminal_columns(stream: TextIO) -> int:
    """The width of the terminal behind a stream; 0 for no terminal, where nothing is cut."""
    if not stream.isatty():
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80
