"""Decides which path a request means: some clients end it with a slash, or join base address and path with two.

Pure. It must not change the paths of requests that change something: a proxy in front may refuse them by their exact
path. So they have one spelling only, and an encoded letter in them leads nowhere. Invariant: a path in the table of
routes means itself.
"""

from __future__ import annotations

import re
from typing import Final

_CHANGING: Final = ("/api/reload-model", "/v2/repository/", "/v1/jobs/")
_NEEDLESS: Final = re.compile(rb"%(?:2[def]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)", re.IGNORECASE)
"""An encoded letter, digit, slash, or one of -._~ : nothing has to encode them."""
_SLASHES: Final = re.compile("/{2,}")


def meant_path(path: str, raw: bytes = b"") -> str:
    """The path without doubled slashes and without one at its end. `raw` is the whole path as it was sent."""
    if b"%" in raw and (path + "/").startswith(_CHANGING) and _NEEDLESS.search(raw):
        return "/" + raw.decode("latin-1")  # no route begins with two slashes
    if "//" not in path and not (path.endswith("/") and len(path) > 1):
        return path
    meant = _SLASHES.sub("/", path).rstrip("/") or "/"
    return path if (meant + "/").startswith(_CHANGING) else meant
