"""Brings the version that `modelward serve` was given into a model root: copied or unpacked under a hidden name, then
renamed in.

The same content twice is brought in once. Blocks; for a thread, and `stopped` ends it between two pieces. Invariant:
the source is not changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from ...worker.shared.durable_files import replace_file
from ...worker.shared.quantities import size
from ..errors import Refused
from ..fetch.local_copy import CopyProgress, copy_version, files_of
from ..fetch.part_directory import FILES, PartDirectory, Reserve, part_directory
from ..models.layouts import ArchiveFound, VersionFound, needed, numbered
from ..models.unpack_archive import unpack
from ..models.upload_rules import MAX_UPLOAD_BYTES
from ..system.safe_read import open_regular

_MAX_NAMES: Final = 100
_MAX_RECORD_BYTES: Final = 1 << 20


class BroughtIn(Struct, frozen=True):
    """The version in the model root. Not `copied`: it was there already, with the same content."""

    version: str
    bytes: int
    copied: bool


def bring_in(
    found: VersionFound | ArchiveFound,
    root: Path,
    record: Path,
    link: str,
    *,
    reserve: Reserve,
    progress: CopyProgress,
) -> BroughtIn:
    """Raises Refused. `record` is the file that knows which archive became which version. `reserve(total_bytes)` is
    what must stay free on a disk of that size.
    """
    if isinstance(found, VersionFound):
        return _copied(found, root, link, reserve, progress)
    return _unpacked(found, root, record, link, reserve, progress)


def _copied(found: VersionFound, root: Path, link: str, reserve: Reserve, progress: CopyProgress) -> BroughtIn:
    source = Path(found.directory)
    if os.path.samefile(source.parent, root):  # it is there already
        return BroughtIn(source.name, 0, copied=False)
    take = partial(needed, graph=found.graph)
    for name in _names(found.name):
        there = os.path.lexists(root / name)
        if there and not _alike(source, root / name, take):
            continue
        try:
            done = copy_version(source, root, name, link=link, reserve=reserve, take=take, progress=progress)
        except Refused:
            if there:  # as long as the other, and yet not the same
                continue
            raise
        return BroughtIn(name, done.bytes, done.copied)
    raise Refused(f"cannot copy {source}: {root} has {_MAX_NAMES} versions of that name; remove some")


def _alike(source: Path, version: Path, take: Callable[[list[str]], list[str]]) -> bool:
    """Whether both have the same files with the same lengths."""
    try:
        wanted = {file.path: file.bytes for file in files_of(source, f"cannot copy {source}")}
        kept = set(take(sorted(wanted)))
        return {p: b for p, b in wanted.items() if p in kept} == {f.path: f.bytes for f in files_of(version, "")}
    except OSError:
        return False


def _unpacked(
    found: ArchiveFound, root: Path, record: Path, link: str, reserve: Reserve, progress: CopyProgress
) -> BroughtIn:
    cannot, known = f"cannot unpack {found.path}", _known(record)
    try:
        with open_regular(found.path) as archive:
            status = os.fstat(archive.fileno())
            key = f"{found.path} {status.st_size} {status.st_mtime_ns}"
            if (version := known.get(key, "")) and os.path.isdir(root / version):
                return BroughtIn(version, 0, copied=False)
            version = next((name for name in _names(found.name) if not os.path.lexists(root / name)), "")
            if not version:
                raise Refused(f"{cannot}: {root} has {_MAX_NAMES} versions of that name; remove some")
            with part_directory(root, version, link, reserve, cannot) as part:
                try:
                    part.begin(keep=False)
                    part.require_room(status.st_size)
                    _, total = part.place(_filled(archive, found.kind, part, cannot, progress))
                finally:
                    part.remove()
    except OSError as e:
        raise Refused(f"{cannot}: {e.strerror or e}") from e
    newest = dict(list({**known, key: version}.items())[-_MAX_NAMES:])
    with suppress(OSError):  # then it is unpacked once more
        replace_file(record, json.dumps(newest).encode(), 0o600)
    return BroughtIn(version, total, copied=True)


def _filled(archive: IO[bytes], kind: str, part: PartDirectory, cannot: str, progress: CopyProgress) -> str:
    """Unpacks an archive; where the version lies in the part: in the one directory that everything is in, if any."""
    written = 0

    def may_write(more_bytes: int) -> None:
        nonlocal written
        written += more_bytes
        if written > MAX_UPLOAD_BYTES:
            raise Refused(f"{cannot}: unpacked it has more than {size(MAX_UPLOAD_BYTES)}")
        part.require_room(more_bytes)
        progress(written, written)

    into = os.open(part.files, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not unpack(archive, kind, into, cannot=cannot, may_write=may_write):
            raise Refused(f"{cannot}: the archive has no files")
    finally:
        os.close(into)
    inside = os.listdir(part.files)
    one = len(inside) == 1 and (part.files / inside[0]).is_dir()
    top = f"{FILES}/{inside[0]}" if one else FILES
    _drop_needless(part.aside / top)
    return top


def _drop_needless(version: Path) -> None:
    """Removes what nobody reads: sherpa-onnx's archive has the model twice, once four times as large."""
    paths = [path for path in version.iterdir() if path.is_file()]
    kept = set(needed([path.name for path in paths]))
    for path in paths:
        if path.name not in kept:
            path.unlink()


def _names(name: str) -> list[str]:
    return [numbered(name, number) for number in range(1, _MAX_NAMES + 1)]


def _known(record: Path) -> dict[str, str]:
    try:
        with open_regular(record) as file:
            found = json.loads(file.read(_MAX_RECORD_BYTES))
        return {str(key): str(version) for key, version in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}
