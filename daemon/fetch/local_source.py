"""Finds the version that a local path means: a directory, a download directory of a hub, or a hub's cache.

It reads names only. In a cache of Hugging Face the snapshot of the main branch is meant, or the only one there is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from ..errors import Refused
from .version_naming import version_name

CACHE_PREFIX: Final = "models--"
_BY_MODELSCOPE: Final = (".msc", ".mdl", ".mv")
_BY_HUGGING_FACE: Final = ".cache/huggingface"
_MAX_REF_BYTES: Final = 200


class VersionSource(Struct, frozen=True):
    """`of_hub`: a hub's tool put it there, so that it may hold more than a version. `graph`: the one that was named."""

    directory: Path
    name: str
    of_hub: bool
    graph: str = ""


def local_version(path: Path) -> VersionSource:
    """Raises Refused when there is no version, or it cannot be read."""
    try:
        return _version(path)
    except OSError as e:
        raise Refused(f"cannot copy {path}: {e.strerror or e}") from e


def _version(path: Path) -> VersionSource:
    top = Path(os.path.realpath(path))
    if not top.is_dir():
        raise Refused(f"cannot copy {path}: there is no such directory")
    if top.name.startswith(CACHE_PREFIX) and (top / "snapshots").is_dir():
        top = _snapshot(top, path)
    repository = top.parent.parent
    if top.parent.name == "snapshots" and repository.name.startswith(CACHE_PREFIX):
        name = repository.name.removeprefix(CACHE_PREFIX).rpartition("--")[2]
        return VersionSource(top, version_name(name, wall=_newest(top)), of_hub=True)
    of_hub = any((top / name).exists() for name in (*_BY_MODELSCOPE, _BY_HUGGING_FACE))
    name = path.name or top.name
    return VersionSource(top, version_name(name, wall=_newest(top)) if of_hub else name, of_hub)


def _snapshot(repository: Path, path: Path) -> Path:
    """The snapshot of the main branch, or the only one."""
    snapshots = sorted((repository / "snapshots").iterdir())
    for branch in ("main", "master"):
        with suppress(OSError, UnicodeDecodeError):
            with open(repository / "refs" / branch, "rb") as file:
                commit = file.read(_MAX_REF_BYTES).decode("ascii").strip()
            if (found := repository / "snapshots" / commit) in snapshots:
                return found
    if len(snapshots) == 1:
        return snapshots[0]
    raise Refused(f"cannot copy {path}: it has {len(snapshots)} snapshots; name one of them")


def _newest(directory: Path) -> float:
    """When the newest of its files came, links followed."""
    found = 0.0
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_file():
                    found = max(found, entry.stat().st_mtime)
    return found
