"""The name that a fetched version gets where the user gives none.

Pure. A name that has a number or a date is kept; another gets the date of its content, so that a later one is the
higher (daemon/version_order.py). Invariant: the same content of the same source gets the same name.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from ...worker.shared.version_name import read_name
from ..errors import Refused
from ..names import MAX_NAME_BYTES, is_version_name

_TAG: Final = re.compile(r"v?\d+(?:[._-]\w+)*", re.ASCII)
_FIRST: Final = 631_152_000.0
_END: Final = 4_102_444_800.0
"""Before 1990 and from 2100 on no date is one."""


def version_name(name: str, *, revision: str = "", wall: float = 0.0) -> str:
    """The version's name from that of a repository, an archive or a directory.

    `revision` is a tag or a branch; `wall` is when the content was made, 0 where that is not known. Raises Refused when
    no version can have the name.
    """
    found = name.strip().replace("___", ".").rstrip(".")
    if not read_name(found).numbers:
        if revision and _TAG.fullmatch(revision):
            found = f"{found}-{revision.replace('/', '-')}"
        else:
            found += _date(wall)
    if not is_version_name(found) or len(found.encode()) > MAX_NAME_BYTES:
        raise Refused(f"cannot name the version after {name[:200]!r}; --as NAME gives it a name")
    return found


def with_date(name: str, wall: float) -> str:
    """Another name for another content of the same name; NAME where it is not known when that was made."""
    return name + date if (date := _date(wall)) else "NAME"


def _date(wall: float) -> str:
    """The end of a name with this date; "" for what is none."""
    return f"-{datetime.fromtimestamp(wall, UTC):%Y%m%d}" if _FIRST <= wall < _END else ""
