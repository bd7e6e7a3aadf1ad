"""Writes files in directories that other users may own, so that none of them decides where the bytes go.

For commands that root may run. The directory is opened as `safe_paths` does, and the file is replaced in what was
opened.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...worker.shared.durable_files import replace_file
from .safe_paths import open_directory


def replace_safely(path: Path, content: bytes, mode: int) -> None:
    """As `durable_files.replace_file`, at an absolute path. Raises OSError, ELOOP for a link that is not followed."""
    into = open_directory(str(path.parent))
    try:
        replace_file(Path(f"/proc/self/fd/{into}", path.name), content, mode)  # there, whatever its path is by now
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from e
    finally:
        os.close(into)
