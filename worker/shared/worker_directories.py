"""The directories that a worker is confined to beside its program, and the identity of each.

It only reads; for worker and daemon. A directory that is made anew under the same name is another one, which a worker
that was confined before cannot use: then the daemon replaces the worker.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from ..protocol import WorkerSettings
from ..settings import STANDARD_OUTPUT


def token_places(token_file: str) -> tuple[str, ...]:
    """The directory of a file that is replaced by renaming, and of the file that it links to; none for "".

    A file directly below "/" has none, because everything is in that directory.
    """
    if not token_file:
        return ()
    found = (os.path.dirname(token_file), os.path.dirname(os.path.realpath(token_file)))
    return tuple(place for place in dict.fromkeys(found) if place not in ("", "/"))


def places_of(settings: WorkerSettings) -> tuple[str, ...]:
    """All of them, by path."""
    named = (settings.cache_dir, settings.log_dir, settings.slots, settings.jobs_dir)
    found = (path for path in named if path not in ("", STANDARD_OUTPUT))
    return tuple(dict.fromkeys([*found, *token_places(settings.token_file)]))


def identities(paths: Iterable[str]) -> dict[str, str]:
    """The identity of the directory at each path now, "" where there is none. Not for an event loop."""
    return {path: _identity(path) for path in paths}


def _identity(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}" if stat.S_ISDIR(found.st_mode) else ""
