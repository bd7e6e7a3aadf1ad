"""Finds where the link that names the live version lies: in the model root, or in the daemon's own state directory.

`models.link` is its name in the root, or `state`. A root in which nothing can be written and which has no link keeps
none: then the link lies in the state directory too, by itself. It reads, and changes nothing; for a thread.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from ..config.load import Config
from ..errors import Refused
from .snapshot import LinkFound, RootSeen, Sight

STATE: Final = "state"
NAME: Final = "current"
"""The link's name in the state directory."""


class LinkPlace(Struct, frozen=True):
    """The places that the configuration allows: `name` in the root, "" for never, and the path `aside`."""

    name: str
    aside: str


def place_of(config: Config) -> LinkPlace:
    """The places that the link may have."""
    name = config.models.link
    return LinkPlace("" if name == STATE else name, str(config.control.state_dir / NAME))


def find(root: Path, place: LinkPlace) -> LinkFound:
    """Where the link is now."""
    read_only = why_unwritable(root)
    if place.name and (not read_only or os.path.islink(root / place.name)):
        return LinkFound(place.name, read_only and _not_ours(root, place.name, read_only), read_only)
    return LinkFound(place.aside, why_unwritable(Path(place.aside).parent), read_only)


def why_unwritable(directory: Path) -> str:
    """Why no entry of this directory can be made or removed; "" when it can be."""
    try:
        if os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            return ""
        reading = os.statvfs(directory).f_flag & os.ST_RDONLY
    except OSError as e:
        return f"cannot write in {directory}: {e.strerror}"
    return f"cannot write in {directory}: {os.strerror(errno.EROFS if reading else errno.EACCES)}"


def at_of(sight: Sight) -> str:
    """Where the link was found: a name in the root, or a path. Raises Refused when the root could not be read."""
    if isinstance(sight, RootSeen):
        return sight.linked.at
    raise Refused(f"cannot move the link: {sight.because}; it is as it was")


def notice_of(sight: Sight, root: Path) -> str:
    """What holds for a root in which nothing can be written; "" for any other."""
    if not isinstance(sight, RootSeen) or not sight.linked.read_only:
        return ""
    at = sight.linked.at
    link = f"the link is {at}" if at.startswith("/") else f"only others move {at} in {root}"
    return f"{sight.linked.read_only}; {link}, and no version is uploaded, deleted or removed by retention"


def _not_ours(root: Path, name: str, read_only: str) -> str:
    return (
        f'{read_only}; `models.link = "state"` has the daemon keep a link of its own, and `models.activation = '
        f'"manual"` leaves it to whoever moves {name} in {root}'
    )
