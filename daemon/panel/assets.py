"""The page's files, read once from the package. A request names a key of this table, never a path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PREFIX: Final = "/static/"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
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


def load() -> dict[str, Asset]:
    """URL path → file: "/" is the page, /favicon.ico its sign, the rest is below PREFIX. Raises OSError."""
    root = Path(__file__).parent / "static"
    found = {PREFIX + name: asset for name, asset in _walk(root, "")}
    found["/"], found["/favicon.ico"] = found.pop(PREFIX + "index.html"), found[PREFIX + "icon.svg"]
    return found


def _walk(directory: Path, above: str) -> Iterator[tuple[str, Asset]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{above}{entry.name}/")
            continue
        content_type = _TYPES.get("." + entry.name.rpartition(".")[2])
        if content_type:
            body = entry.read_bytes()
            yield above + entry.name, Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
