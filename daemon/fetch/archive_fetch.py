"""Brings a version that is an archive into the model root: from the web, or a file on this machine.

The archive lies beside what is unpacked until the version is complete. What no version needs is removed again, as for a
repository. Invariant: nothing that the archive names is written outside the hidden directory, and its claims of sizes
are not believed.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import IO, Final

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ...worker.shared.durable_files import write_new
from ...worker.shared.quantities import size
from ...worker.shared.sha256sums import BadSums, parse_sums, written_sums
from ..errors import Refused
from ..models.fetch_parts import remove_left
from ..models.unpack_archive import unpack
from ..models.upload_rules import MAX_UPLOAD_BYTES
from ..system.safe_read import open_regular
from .fetcher import Fetched, Fetcher, FetchOptions, FetchTarget, comments_in
from .file_choice import choose
from .local_copy import LocalFile, files_of, open_listed, same_content
from .part_directory import FILES, FULL, PartDirectory, part_directory, require_name
from .sources import without_archive_ending
from .version_naming import version_name
from .web_listing import RemoteArchive

_ARCHIVE: Final = "archive"
GROWTH: Final = 2
"""An archive takes its own length, and about as much when it is unpacked: models hardly shrink."""


def fetch_archive(fetcher: Fetcher, remote: RemoteArchive, options: FetchOptions) -> Fetched:
    """Downloads and unpacks it. Raises Refused and OSError."""
    name, place, file = options.name or version_name(remote.name), fetcher.place, remote.file
    cannot, target = f"cannot fetch {name}", place.root / name
    require_name(name, place.link, cannot)
    if os.path.lexists(target):
        if not comments_in(target) & _proofs(remote):
            raise Refused(f"{cannot}: {target} exists, and may be another version; --as NAME keeps both")
        remove_left(place.root, name)
        return Fetched(name, target, 0, 0, file.digest, new=False)
    with part_directory(place.root, name, place.link, place.reserve, cannot) as part:
        done = fetcher.downloaded_alone(part, file, part.aside / _ARCHIVE, GROWTH)
        comments = [_comment(remote.origin, done.sha256), *([_by_etag(remote)] if remote.etag else [])]
        with open_regular(part.aside / _ARCHIVE) as opened:
            inside = _unpacked(part, opened, options, cannot)
        os.unlink(part.aside / _ARCHIVE)
        top = part.aside / inside
        if not (top / SUMS).exists():
            sums = {file.path: _sha256(file) for file in files_of(top, cannot)}
            write_new(top / SUMS, written_sums(sums, comments), 0o600)
        count, total = part.place(inside)
        part.remove()
    return Fetched(name, target, count, total, done.sha256, new=True)


def fetch_local_archive(place: FetchTarget, path: Path, options: FetchOptions) -> Fetched:
    """Unpacks an archive on this machine. Raises Refused and OSError."""
    name = options.name or version_name(without_archive_ending(path.name))
    cannot, target = f"cannot copy {path}", place.root / name
    try:
        opened = open_regular(path)
    except OSError as e:
        raise Refused(f"{cannot}: {e.strerror or e}") from e
    with opened, part_directory(place.root, name, place.link, place.reserve, cannot) as part:
        part.require_room(os.fstat(opened.fileno()).st_size)
        inside = _unpacked(part, opened, options, cannot)
        if os.path.lexists(target):
            files = files_of(part.aside / inside, cannot)
            same = same_content(files, target)
            part.remove()
            if not same:
                raise Refused(f"{cannot}: {target} exists and has other content; --as NAME keeps both")
            return Fetched(name, target, len(files), sum(file.bytes for file in files), "", new=False)
        count, total = part.place(inside)
        part.remove()
    return Fetched(name, target, count, total, "", new=True)


def _unpacked(part: PartDirectory, archive: IO[bytes], options: FetchOptions, cannot: str) -> str:
    """Unpacks it and keeps what a version needs; where that lies. Raises Refused and OSError; then nothing of it is
    kept, but for the archive when the disk was full.
    """
    part.begin(keep=False)
    kind = "zip" if zipfile.is_zipfile(archive) else "tar"
    archive.seek(0)
    written = 0

    def may_write(count: int) -> None:
        nonlocal written
        written += count
        if written > MAX_UPLOAD_BYTES:
            raise Refused(f"{cannot}: unpacked it has more than {size(MAX_UPLOAD_BYTES)}")
        part.require_room(count)

    into = os.open(part.files, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not unpack(archive, kind, into, cannot=cannot, may_write=may_write):
            raise Refused(f"{cannot}: the archive has no files")
        entries = os.listdir(into)
        inside = FILES
        if len(entries) == 1 and (part.files / entries[0]).is_dir():
            inside = f"{FILES}/{entries[0]}"
        _keep_chosen(part.aside / inside, options, cannot)
        return inside
    except (Refused, OSError) as e:
        part.begin(keep=False)
        if not (isinstance(e, OSError) and e.errno in FULL):  # then the archive is good, and need not come again
            part.remove()
        raise
    finally:
        os.close(into)


def _keep_chosen(top: Path, options: FetchOptions, cannot: str) -> None:
    """Removes the files that are no part of the version."""
    paths = [file.path for file in files_of(top, cannot)]
    sums: dict[str, str] = {}
    if SUMS in paths:
        with open(top / SUMS, "rb") as file:
            try:
                sums = parse_sums(file.read(MAX_SUMS_BYTES + 1))
            except BadSums as e:
                raise Refused(f"{cannot}: {SUMS}: {e}") from e
    kept = set(choose(paths, sums=sums, model=options.model, everything=options.everything).paths)
    for directory, below, names in os.walk(top, topdown=False):
        for name in names:
            if str((Path(directory) / name).relative_to(top)) not in kept:
                (Path(directory) / name).unlink()
        for name in below:
            if not os.listdir(Path(directory) / name):
                (Path(directory) / name).rmdir()


def _comment(origin: str, sha256: str) -> str:
    return " ".join((origin, "sha256", sha256))


def _by_etag(remote: RemoteArchive) -> str:
    return " ".join((remote.origin, "etag", remote.etag, str(remote.file.bytes)))


def _proofs(remote: RemoteArchive) -> set[str]:
    """The comments of which each proves that a version came from the archive that is offered now."""
    found = {_comment(remote.origin, remote.file.digest)} if remote.file.digest else set()
    return found | ({_by_etag(remote)} if remote.etag else set())


def _sha256(file: LocalFile) -> str:
    with open(open_listed(file), "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
