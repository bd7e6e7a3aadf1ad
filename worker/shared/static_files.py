"""The files of a page, read once from the package, and the headers by which a browser protects a page.

A request names a key of the table, never a path. A browser that has a file already gets 304, by its ETag.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from starlette.responses import Response

PREFIX: Final = "/static/"
HTML: Final = "text/html; charset=utf-8"
_TYPES: Final = {
    ".html": HTML,
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """One file as it is sent; `tag` is its ETag."""

    body: bytes
    content_type: str
    tag: str


def load(directory: Path) -> dict[str, Asset]:
    """URL path to file: "/" is index.html, everything else is under PREFIX. Raises OSError."""
    found = {}
    for path in directory.rglob("*"):
        if (content_type := _TYPES.get(path.suffix)) and path.is_file():
            body, name = path.read_bytes(), path.relative_to(directory).as_posix()
            asset = Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
            found["/" if name == "index.html" else PREFIX + name] = asset
    return found


def answer(asset: Asset, if_none_match: str, headers: Mapping[str, str] | None = None) -> Response:
    """The file, or 304 where the browser has it."""
    all_headers = {**(headers or {}), "etag": asset.tag, "cache-control": "no-cache"}
    if asset.tag in if_none_match:
        return Response(None, 304, all_headers)
    return Response(asset.body, 200, all_headers, asset.content_type)


def protection(policy: str, *, microphone: bool = False) -> dict[str, str]:
    """The headers of a page that no other page may frame, with this Content-Security-Policy."""
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": f"camera=(), microphone=({'self' if microphone else ''}), geolocation=()",
    }
