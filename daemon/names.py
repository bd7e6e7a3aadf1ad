"""The words of the house: which names are versions, and which version is the higher one.

Pure. Names that begin with `.` or end in `.tmp`, `.part` or `~` are copies in progress and ignored; those that begin
with `-`, are only spaces or can't be printed are ignored too, and reported. The trailing
version of a name compares as numbers (v1.9 < v1.10); a name without one is never above a numbered one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..worker.shared.version_suffix import TRAILING

MAX_NAME_BYTES: Final = 255
_IGNORED_ENDINGS: Final = (".tmp", ".part", "~")

_STAGES: Final = {"dev": 0, "alpha": 1, "a": 1, "beta": 2, "b": 2, "pre": 3, "preview": 3, "rc": 3}
_RELEASE: Final = 9


class Version(NamedTuple):
    """A trailing version; compares as versions do. `stage` is _RELEASE, or lower for an rc, beta, alpha or dev."""

    numbers: tuple[int, ...]
    stage: int = _RELEASE
    step: int = 0


def is_version_name(name: str) -> bool:
    """Whether an entry of the model root may be a version: printable, not hidden, not a copy in progress."""
    return not _is_aside(name) and not why_ignored(name)


def why_ignored(name: str) -> str:
    """Why a directory of this name is no version; "" when it may be one, or is plainly not meant to be.

    A name that begins with `-` is an option to every command; one of spaces is seen by nobody.
    """
    if _is_aside(name):
        return ""
    if not name.isprintable():
        return "its name has characters that can't be printed"
    if not name.strip():
        return "its name is only spaces"
    if name.startswith("-"):
        return "its name begins with -, which commands take for an option"
    if len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        return f"its name has more than {MAX_NAME_BYTES} bytes"
    return ""


def _is_aside(name: str) -> bool:
    """Hidden, or a copy in progress; or no name at all."""
    return not name or name.startswith(".") or name.endswith(_IGNORED_ENDINGS) or "/" in name


def version_key(name: str) -> Version | None:
    """The trailing version of a name, or None. Trailing zeros don't count: v1 and v1.0 are the same version."""
    found = TRAILING.search(name)
    if found is None:
        return None
    digits = re.split("[-_.]", found["marked"] or found["date"] or found["plain"])
    numbers = [int(d) for d in digits]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    stage = found["stage"]
    if not stage:
        return Version(tuple(numbers))
    return Version(tuple(numbers), _STAGES[stage.lower()], int(found["step"] or 0))


def order_key(name: str, arrived: float = 0.0) -> tuple[bool, Version, float, str]:
    """Sorts versions from the lowest to the highest: a total order. Without a number: by arrival, below all numbered.

    `arrived` is any clock's seconds, the same for all that are compared.
    """
    version = version_key(name)
    return (version is not None, version or Version(()), arrived, name)


def is_higher(name: str, arrived: float, than: str, than_arrived: float) -> bool:
    """Whether a version may take the place of another by itself: a higher number, or, when neither has one, later.

    Two names of the same number (v1.0 and 1.0.0) are not higher than each other.
    """
    mine, other = version_key(name), version_key(than)
    if mine is None:
        return other is None and (arrived, name) > (than_arrived, than)
    return other is None or mine > other


def compare(name: str, than: str, arrived: float = 0.0, than_arrived: float = 0.0) -> int:
    """-1, 0 or 1 as `order_key` sorts them; 0 only for the same name and arrival."""
    mine, other = order_key(name, arrived), order_key(than, than_arrived)
    return (mine > other) - (mine < other)
