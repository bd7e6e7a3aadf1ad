"""Decides which path below a base path a request means, and what is a base path.

Pure. Both the whole path and the one without the base path are answered: some proxies remove it, and probes do not know
it. So no base path may begin like a route. Invariant: a prefix from a header can only ever be a plain path: no host, no
`..`, nothing that ends a header.
"""

from __future__ import annotations

import re
from typing import Final

MAX_PREFIX_CHARS: Final = 200
ROUTES: Final = frozenset(
    ("api", "favicon.ico", "health", "live", "login", "metrics", "openapi.json", "ready", "session", "static")
    + ("v1", "v2", "ws")
)
"""How the paths of the service and of the panel begin."""
_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+", re.ASCII)


def check_base_path(text: str) -> str:
    """A base path without a slash at its end, "" for none. Raises ValueError with what would be right."""
    path = text.rstrip("/")
    if not path:
        return ""
    if len(path) > MAX_PREFIX_CHARS or not _PREFIX.fullmatch(path):
        raise ValueError('a path of letters, digits and -._~, like "/asr"')
    if (first := path.split("/", 2)[1]) in ROUTES:
        raise ValueError(f'routes begin with /{first} already; another word, like "/asr"')
    return path


def prefix_in(header: str) -> str:
    """The prefix in a header, "" for what is none."""
    path = header.rstrip("/")
    return path if len(path) <= MAX_PREFIX_CHARS and _PREFIX.fullmatch(path) else ""


def below(path: str, base: str) -> tuple[str, bool]:
    """The path without the base path, and whether it was there. A doubled slash before it stays, before the rest."""
    if base and (path == base or path.startswith(f"{base}/")):
        return path[len(base) :] or "/", True
    if base and path.startswith(f"/{base}/"):
        return "/" + path[len(base) + 1 :], True
    return path, False
