"""Removes the private copies that no validator will finish: it was killed, or died with its daemon.

Each holds a whole model, so a daemon that keeps dying must not leave one a time. To be called while no validator is at
work. Follows no link; what can't be removed stays and is swept by its age.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".tmp-"  # of every name in the artifact root that is not whole


def remove_unfinished(root: Path) -> list[str]:
    """The names of those that are gone now; [] when there is no such directory."""
    try:
        found = sorted(name for name in os.listdir(root) if name.startswith(UNFINISHED))
    except OSError:
        return []
    for name in found:
        # A tree deeper than Python recurses is nothing that a validator of ours makes.
        with suppress(OSError, RecursionError):
            _remove(root / name)
    return [name for name in found if not os.path.lexists(root / name)]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # by directory descriptors: a link put in the place of a directory is not followed
    else:
        path.unlink()
