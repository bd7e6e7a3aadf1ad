"""Which names of the model root's entries may be versions.

Pure. Names are ignored that begin with `.`, end as unfinished copies do, or are a file system's own. Those that begin
with `-`, are only spaces or can't be printed are ignored and reported.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME_BYTES: Final = 255
UNFINISHED_ENDINGS: Final = (
    ".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".incomplete", ".unfinished",
    ".aria2", "~",
)  # fmt: skip
"""What programs write to the names of copies and downloads that are under way."""
_UNFINISHED: Final = re.compile(
    r"""(?:.*/)? (?: \._____temp/ .*                    # ModelScope
                   | \.git/ (?: .*\.lock | objects/pack/tmp_.* | lfs/(?:tmp|incomplete)/ .* )
                   | \.[^/]+ \. [A-Za-z0-9]{6} )       # rsync""",
    re.VERBOSE | re.DOTALL,
)
FLEET_PART: Final = ".fleet-part"
"""The hidden directory of a version that is fetched for a fleet's record."""
NO_VERSIONS: Final = ("lost+found", "System Volume Information")


def is_version_name(name: str) -> bool:
    """Whether an entry of the model root may be a version: printable, not hidden, not a copy in progress."""
    return not _is_aside(name) and not why_ignored(name)


def why_ignored(name: str) -> str:
    """Why a directory of this name is no version; "" when it may be one, or is plainly not meant to be.

    A name that begins with `-` is an option to every command; one of spaces cannot be seen.
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


def is_unfinished(path: str) -> bool:
    """Whether a file in a version, by its path there, is one that a program writes while more of it is to come."""
    return path.lower().endswith(UNFINISHED_ENDINGS) or _UNFINISHED.fullmatch(path) is not None


def _is_aside(name: str) -> bool:
    """Hidden, a copy in progress, or a file system's own; or no name at all."""
    if not name or name.startswith(".") or "/" in name or name in NO_VERSIONS:
        return True
    return name.lower().endswith(UNFINISHED_ENDINGS)
