"""The words of the house: which names are versions.

Pure. Names that begin with `.` or end in `.tmp`, `.part` or `~` are copies in progress and ignored.
"""

from __future__ import annotations

from typing import Final

MAX_NAME_BYTES: Final = 255
_IGNORED_ENDINGS: Final = (".tmp", ".part", "~")


def is_version_name(name: str) -> bool:
    """Whether an entry of the model root may be a version: printable, not hidden, not a copy in progress."""
    return (
        bool(name)
        and not name.startswith(".")
        and not name.endswith(_IGNORED_ENDINGS)
        and "/" not in name
        and name.isprintable()
        and len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    )
