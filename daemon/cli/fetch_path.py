"""Finds what a path means to `modelward fetch`: the same as to `modelward serve`, and of a model root its live version.

It reads names only. A path that holds a version keeps its name; a hub's download gets the date of its files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ..errors import Refused
from ..fetch.local_source import VersionSource, local_version
from ..models.layouts import ArchiveFound, NothingFound, VersionFound, recognise
from ..models.tree_listing import listed
from .render import clean

_LINK: Final = "current"


def found_here(path: Path, as_it_is: bool) -> VersionSource | ArchiveFound:
    """The version or the archive. `as_it_is`: a path in which nothing is recognised is taken all the same.

    Raises Refused.
    """
    place = Path(os.path.abspath(path))
    try:
        seen = listed(place)
    except OSError as e:
        raise Refused(f"cannot copy {clean(path)}: {e.strerror or e}") from e
    found = recognise(seen)
    if isinstance(found, ArchiveFound):
        return found
    if isinstance(found, VersionFound):
        directory = Path(found.directory)
        same = os.path.realpath(place) == found.directory and place.name != _LINK  # a link may have a name of its own
        return replace(local_version(place if same else directory), graph=found.graph)
    if isinstance(found, NothingFound):
        if as_it_is and seen.kind == "directory":
            return local_version(place)
        raise Refused(f"cannot copy {clean(path)}: {found.because}")
    if not seen.link:
        raise Refused(f"cannot copy {clean(path)}: it is a model root and none of its versions is live; name a version")
    return local_version(Path(found.directory) / seen.link)
