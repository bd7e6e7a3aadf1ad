"""Decides which path a request means: some clients end it with a slash, or join base address and path with two.

Pure. It must not change the paths of requests that change something: a proxy in front may refuse them by their exact
path, so they have one spelling only. Invariant: a path in the table of routes means itself.
"""

from __future__ import annotations

import re
from typing import Final

_CHANGING: Final = ("/api/reload-model", "/v2/repository/", "/v1/jobs/")
_SLASHES: Final = re.compile("/{2,}")


def meant_path(path: str) -> str:
    """The path without doubled slashes and without one at its end."""
    if "//" not in path and not (path.endswith("/") and len(path) > 1):
        return path
    meant = _SLASHES.sub("/", path).rstrip("/") or "/"
    return path if (meant + "/").startswith(_CHANGING) else meant
