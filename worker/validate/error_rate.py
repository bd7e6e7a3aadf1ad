"""Measures how far a text is from the spoken words: characters to change, over characters expected.

Pure. Levenshtein distance on normalised text, so that punctuation, width, case and spacing, in which models differ
freely, do not count.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from msgspec import Struct


class Errors(Struct, frozen=True):
    """`wrong` edits against `expected` characters, both counts."""

    wrong: int
    expected: int

    @property
    def rate(self) -> float:
        """Edits for each expected character; without expected text each character counts as one error."""
        return self.wrong / max(1, self.expected)


def compare(heard: str, expected: str) -> Errors:
    """Edits that turn `heard` into `expected`, after normalising both."""
    a, b = normalised(heard), normalised(expected)
    return Errors(distance(a, b), len(b))


def total(errors: Iterable[Errors]) -> Errors:
    """The sum over a set of clips: long clips weigh more, as in any corpus error rate."""
    listed = tuple(errors)
    return Errors(sum(e.wrong for e in listed), sum(e.expected for e in listed))


def normalised(text: str) -> str:
    """NFKC, case folded, punctuation and symbols dropped, white space folded to single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (" " if unicodedata.category(c)[0] in "ZC" else c for c in folded if unicodedata.category(c)[0] not in "PS")
    return " ".join("".join(kept).split())


def distance(a: str, b: str) -> int:
    """Levenshtein distance: fewest insertions, deletions and substitutions (Wagner and Fischer, two rows)."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
