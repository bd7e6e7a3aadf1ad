"""The directory in which one version is judged: made here, removed here.

Its name says that it is unfinished, so that what a killed validator leaves behind is known for what it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path


def private_directory(root: Path) -> Path:
    """A new, empty directory below `root`, which is made when it is missing. Raises OSError."""
    root.mkdir(mode=0o750, parents=True, exist_ok=True)
    directory = root / f".tmp-validate-{os.getpid()}-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o750)
    return directory


def discard(directory: Path) -> None:
    """Removes it as far as it can; what stays is swept by its name."""
    shutil.rmtree(directory, ignore_errors=True)
