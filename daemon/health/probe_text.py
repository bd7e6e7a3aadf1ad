"""Compares a text with the expected one by letters and digits alone, without case, width and spaces.

Pure. A rate is edits by letter of the expected text; 0 is the same.
"""

from __future__ import annotations

from typing import Final

MAX_CHARS: Final = 500
"""Longer texts are compared by their beginning."""


def plain(text: str) -> str:
    """Letters and digits, in one form."""
    if not text.isascii():
        import unicodedata  # here: its tables are a megabyte, and most probes need none

        text = unicodedata.normalize("NFKC", text)
    return "".join(c for c in text.casefold() if c.isalnum())[:MAX_CHARS]


def error_rate(heard: str, expected: str) -> float:
    """Edits that lead from what is expected to what came, by its letters."""
    if heard == expected:
        return 0.0
    wanted, got = plain(expected), plain(heard)
    if not wanted:
        return float(bool(got))
    row = list(range(len(got) + 1))
    for i, letter in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            before, row[j] = row[j], min(before + (letter != other), row[j] + 1, row[j - 1] + 1)
    return row[-1] / len(wanted)
