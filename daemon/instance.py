"""One daemon at a time: a lock that ends with the process, whatever ends it.

No child inherits it (every child is exec'd), so workers that outlive the daemon never keep its successor out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ModelwardError


@contextmanager
def alone(runtime_dir: Path) -> Iterator[None]:
    """Holds the lock of a runtime directory. Raises ModelwardError when another daemon does, or it can't be had."""
    path = runtime_dir / "daemon.lock"
    try:
        runtime_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as e:
        raise ModelwardError(f"cannot start: {path}: {e.strerror}") from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(fd)
        raise ModelwardError(f"cannot start: another daemon runs in {runtime_dir}") from e
    except OSError as e:
        os.close(fd)
        raise ModelwardError(f"cannot start: {path} can't be locked: {e.strerror}") from e
    try:
        yield
    finally:
        os.close(fd)
