"""Removes directories that no validator or compiler will finish: it was killed, or died with its daemon.

Each holds a whole model, so a daemon that dies again and again must not leave one each time. It must run while no such
child does. It follows no link; what cannot be removed stays, and is swept later by its age.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".tmp-"  # of every name in the artifact root that is not whole
UNFINISHED_FORM: Final = ".tmp-form-"  # a compiler's, not a validator's


def remove_unfinished(root: Path, *, forms: bool = False) -> list[str]:
    """Removes those of the validator, or with `forms` those of the compiler. Returns the names that are gone now; []
    when there is no such directory.
    """
    try:
        found = sorted(
            n for n in os.listdir(root) if n.startswith(UNFINISHED) and forms == n.startswith(UNFINISHED_FORM)
        )
    except OSError:
        return []
    for name in found:
        # A tree deeper than Python recurses is nothing that a validator of ours makes.
        with suppress(OSError, RecursionError):
            _remove(root / name)
    return [name for name in found if not os.path.lexists(root / name)]


def remove_form(directory: str) -> None:
    """Removes a finished form; one that can't be removed whole has another name then, and is swept by that."""
    path = Path(directory)
    aside = path.with_name(f"{UNFINISHED_FORM}gone-{path.name}"[:255])
    with suppress(OSError, RecursionError):
        path.rename(aside)
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # by directory descriptors: a link put in the place of a directory is not followed
    else:
        path.unlink()
