"""Brings the version that `modelward serve` was given into a model root, by what `modelward fetch` does it with.

The same content twice is brought in once; other content gets another name. Blocks; for a thread. Invariant: the source
is not changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from ...worker.shared.checksums import SUMS
from ...worker.shared.durable_files import replace_file
from ..errors import Refused
from ..fetch.archive_fetch import fetch_local_archive
from ..fetch.fetcher import FetchOptions, FetchTarget
from ..fetch.file_choice import choose
from ..fetch.local_copy import CopyProgress, copy_version, files_of, same_content
from ..models.layouts import ArchiveFound, VersionFound, numbered
from ..system.safe_read import open_regular

_MAX_NAMES: Final = 100
_MAX_RECORD_BYTES: Final = 1 << 20


class BroughtIn(Struct, frozen=True):
    """The version in the model root. Not `copied`: it was there already, with the same content."""

    version: str
    bytes: int
    copied: bool


def bring_in(found: VersionFound | ArchiveFound, place: FetchTarget, record: Path, progress: CopyProgress) -> BroughtIn:
    """Raises Refused. `record` is the file that knows which archive became which version."""
    if isinstance(found, VersionFound):
        return _copied(found, place, progress)
    return _unpacked(found, place, record)


def _copied(found: VersionFound, place: FetchTarget, progress: CopyProgress) -> BroughtIn:
    source, cannot = Path(found.directory), f"cannot copy {found.directory}"
    if os.path.samefile(source.parent, place.root):  # it is there already
        return BroughtIn(source.name, 0, copied=False)

    def take(paths: Sequence[str]) -> Sequence[str]:
        if SUMS in paths:
            return paths
        try:
            return choose(paths, model=found.graph).paths
        except Refused:  # the validator reports what is wrong with it
            return paths

    files = files_of(source, cannot)
    kept = set(take([file.path for file in files]))
    files = [file for file in files if file.path in kept]
    for name in _names(found.name):
        if not os.path.lexists(place.root / name):
            done = copy_version(
                source, place.root, name, link=place.link, reserve=place.reserve, take=take, progress=progress
            )
            return BroughtIn(name, done.bytes, done.copied)
        if same_content(files, place.root / name):
            return BroughtIn(name, 0, copied=False)
    raise Refused(f"{cannot}: {place.root} has {_MAX_NAMES} versions of that name; remove some")


def _unpacked(found: ArchiveFound, place: FetchTarget, record: Path) -> BroughtIn:
    cannot, known = f"cannot unpack {found.path}", _known(record)
    try:
        status = os.stat(found.path)
        key = f"{found.path} {status.st_size} {status.st_mtime_ns}"
        if (version := known.get(key, "")) and os.path.isdir(place.root / version):
            return BroughtIn(version, 0, copied=False)
        version = next((name for name in _names(found.name) if not os.path.lexists(place.root / name)), "")
        if not version:
            raise Refused(f"{cannot}: {place.root} has {_MAX_NAMES} versions of that name; remove some")
        done = fetch_local_archive(place, Path(found.path), FetchOptions(name=version))
    except OSError as e:
        raise Refused(f"{cannot}: {e.strerror or e}") from e
    newest = dict(list({**known, key: version}.items())[-_MAX_NAMES:])
    with suppress(OSError):  # then it is unpacked once more
        replace_file(record, json.dumps(newest).encode(), 0o600)
    return BroughtIn(version, done.bytes, copied=True)


def _names(name: str) -> list[str]:
    return [numbered(name, number) for number in range(1, _MAX_NAMES + 1)]


def _known(record: Path) -> dict[str, str]:
    try:
        with open_regular(record) as file:
            found = json.loads(file.read(_MAX_RECORD_BYTES))
        return {str(key): str(version) for key, version in found.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
