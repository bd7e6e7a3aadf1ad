"""What the trusted comment of a version's signature holds against replay: a number and an end.

`modelward sequence=7 expires=2027-01-01T00:00:00Z`. Pure: the integrity gate decides what follows. A comment that does
not begin with the word `modelward` holds nothing. Invariant: one that does is read completely or refused.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from .moments import moment

MARK: Final = "modelward"
FLEET_MARK: Final = "modelward fleet record"
"""The trusted comment of a fleet's record: neither signature passes for the other."""
MAX_SEQUENCE: Final = 2**53 - 1
"""The largest whole number that each reader of JSON keeps."""
_SEQUENCE: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


class BadFields(ValueError):
    """A comment that is ours and cannot be read; the text gives the reason."""


class SignedFields(Struct, frozen=True):
    """`sequence` 0: there is none. `expires` is "" for never, `expires_at` its wall seconds."""

    sequence: int = 0
    expires: str = ""
    expires_at: float = 0.0


def read_fields(comment: str) -> SignedFields:
    """Raises BadFields."""
    words = comment.split()
    if words[:1] != [MARK]:
        return SignedFields()
    if comment == FLEET_MARK:
        raise BadFields("the signature is that of a fleet's record")
    found = dict[str, str]()
    for word in words[1:]:
        name, sign, value = word.partition("=")
        if name not in ("sequence", "expires") or not sign or name in found:
            raise BadFields(f"its trusted comment holds {word[:40]!r}, which this release cannot read")
        found[name] = value
    sequence = found.get("sequence", "")
    if not _SEQUENCE.fullmatch(sequence) or int(sequence) > MAX_SEQUENCE:
        raise BadFields(f"its trusted comment has no sequence from 1 to {MAX_SEQUENCE}")
    expires = found.get("expires", "")
    try:
        return SignedFields(int(sequence), expires, moment(expires) if expires else 0.0)
    except ValueError as e:
        raise BadFields(f"its trusted comment cannot be read: {e}") from e


def write_fields(sequence: int, expires: str = "") -> str:
    """The comment; `read_fields` reads it back. Raises BadFields."""
    comment = f"{MARK} sequence={sequence}" + (f" expires={expires}" if expires else "")
    read_fields(comment)
    return comment
