"""Reads the model root once and returns what it found. It changes nothing, and follows no link inside a version.

It runs in a thread; the result is frozen. If the root cannot be read completely, the result is `RootAbsent`: absent is
not empty. A repeated scan costs one stat for each entry; the rest is taken from `before`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ...worker.shared.volume_entries import content_of, is_deleted_on_nfs, leads_into_data
from ..names import is_unfinished, is_version_name, why_ignored
from ..system.safe_paths import open_directory
from . import link, link_place
from .link_place import LinkPlace
from .misplaced_links import MAX_MISPLACED, meant
from .no_version import itself_a_version, link_in_place_of_a_version
from .snapshot import (
    RootAbsent,
    RootSeen,
    Sight,
    VersionSeen,
)
from .write_lease import open_for_writing

MAX_ENTRIES: Final = 10_000
MAX_DEPTH: Final = 8
MAX_VERSIONS: Final = 1_000
MAX_IGNORED: Final = 100
_SUM_LINE: Final = re.compile(r"[0-9a-fA-F]{64} [ *](?P<path>.+)")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_ITS_OWN_FAULT: Final = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


def scan_root(
    root: Path, place: LinkPlace, *, before: Sight | None = None, writing_of: Collection[str] = frozenset()
) -> Sight:
    """The content of `root` now, and where the link is of those places that it may have. `before` is the last result,
    so that unchanged manifests are not read again.

    `writing_of` are the versions for which it is checked whether a file is open for writing. That opens each of their
    files, so it is for versions that are about to be validated.
    """
    known = {v.name: v for v in before.versions} if isinstance(before, RootSeen) else {}
    try:
        fd = open_directory(str(root.absolute()))
    except OSError as e:
        return RootAbsent(f"cannot read {root}: {e.strerror}")
    try:
        status = os.fstat(fd)
        linked = link_place.find(root, place)
        with os.scandir(fd) as entries:
            found = [e for e in entries if e.name != linked.at]
        names = [(e.name, e.is_dir(follow_symlinks=False)) for e in found]
        links = [e.name for e in found if e.is_symlink() and is_version_name(e.name)]
        wanted = {n: "" for n, directory in names if directory and is_version_name(n)}
        if content := content_of(fd):
            wanted |= {n: content for n in links if leads_into_data(fd, n)}
        if len(wanted) > MAX_VERSIONS:
            return RootAbsent(f"cannot read {root}: {len(wanted)} versions, at most {MAX_VERSIONS}")
        versions = _versions(root, fd, wanted, known, writing_of)
        state = link.read(root, linked.at)
        ignored = [(n, why) for n, directory in names if directory and (why := why_ignored(n))]
        elsewhere = [n for n in links if n not in wanted]
        ignored += [(n, why) for n in elsewhere[:MAX_IGNORED] if (why := link_in_place_of_a_version(root, n))]
        return RootSeen(
            (status.st_dev, status.st_ino),
            state,
            versions,
            others=len(names) - len(wanted),
            ignored=tuple(sorted(ignored)[:MAX_IGNORED]),
            linked=linked,
            owner=status.st_uid,
            itself="" if versions else itself_a_version(root, [n for n, directory in names if not directory]),
        )
    except OSError as e:
        return RootAbsent(f"cannot read {root}: {e.strerror}")
    finally:
        os.close(fd)


def scan_candidates(root: Path, place: LinkPlace, before: Sight, settled: frozenset[str]) -> Sight:
    """The content of the model root now; on a thread. It checks for open files only in versions that may be validated
    next.
    """
    names: set[str] = set()
    with suppress(OSError):
        names = set(os.listdir(root)) - settled
    return scan_root(root, place, before=before, writing_of=names)


def _versions(
    root: Path, fd: int, wanted: Mapping[str, str], known: Mapping[str, VersionSeen], writing_of: Collection[str]
) -> tuple[VersionSeen, ...]:
    """The versions by name. Of each, `wanted` has the directory of the root that holds it, "" for the root itself."""
    within = {place: os.open(place, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd) for place in set(wanted.values()) - {""}}
    try:
        found = []
        for name, place in sorted(wanted.items()):
            seen = _version(root, within.get(place, fd), name, known.get(name), name in writing_of)
            if seen is not None:
                found.append(replace(seen, within=place) if place else seen)
        return tuple(found)
    finally:
        for opened in within.values():
            os.close(opened)


class _Walk(Struct):
    """What a walk through one version gathers."""

    device: int
    lines: list[str] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    newest_ns: int = 0
    inner_ns: int = 0
    misplaced: list[tuple[str, str]] = field(default_factory=list)
    unfinished: str = ""
    entries: int = 0
    inside: str = ""
    """The directory that is being read, for the message when it cannot be."""

    def note(self, path: str, status: os.stat_result) -> None:
        if len(self.lines) >= MAX_ENTRIES:
            raise _TooMuch(f"more than {MAX_ENTRIES} entries")
        kind = stat.S_IFMT(status.st_mode)
        size = status.st_size if kind != stat.S_IFDIR else 0
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        self.lines.append(f"{path}\0{kind:o} {size} {times} {status.st_dev}:{status.st_ino}")
        latest = max(status.st_mtime_ns, status.st_ctime_ns)
        self.inner_ns = max(self.inner_ns, latest)
        self.entries += kind != stat.S_IFDIR
        if kind == stat.S_IFREG:
            self.files[path] = size
            if not self.unfinished and is_unfinished(path):
                self.unfinished = path


class _TooMuch(Exception):
    """A version beyond the limits."""


def _version(root: Path, root_fd: int, name: str, known: VersionSeen | None, ask_writing: bool) -> VersionSeen | None:
    """One version; None when it has been removed. An error inside it does not concern the root."""
    try:
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=root_fd)
    except FileNotFoundError:
        return None
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENOTDIR):
            return None  # replaced by a link or a file since it was listed
        return _unreadable(root, name, "it", e)
    try:
        top = os.fstat(fd)
        walk = _Walk(top.st_dev)
        _walk(root, fd, "", 0, walk)
        seen = _summary(name, top, walk)
        if known is not None and known.fingerprint == seen.fingerprint and not known.error:
            seen = replace(seen, has_sums=known.has_sums, sums_complete=known.sums_complete)
        elif SUMS in walk.files:
            seen = replace(seen, has_sums=True, sums_complete=_sums_complete(fd, walk.files))
        return replace(seen, writing=_writing(fd, walk.files)) if ask_writing else seen
    except _TooMuch as e:
        return VersionSeen(name, str(e), error=f"cannot read it: {e}")
    except OSError as e:
        return _unreadable(root, name, walk.inside or "it", e)
    finally:
        os.close(fd)


def _unreadable(root: Path, name: str, what: str, error: OSError) -> VersionSeen:
    """A version of which `what` cannot be read. Only a missing right counts against it, until the operator
    grants that.
    """
    because = f"cannot read {what}: {error.strerror}"
    if error.errno == errno.EACCES:
        because += f"; `chmod -R a+rX {shlex.quote(str(root / name))}` lets the daemon read it"
    return VersionSeen(name, because, error=because, passing=error.errno not in _ITS_OWN_FAULT)


def _walk(root: Path, fd: int, prefix: str, depth: int, walk: _Walk) -> None:
    """Notes every entry below `fd`, each by its own status; other file systems are noted, not entered.

    Links that were meant for the root are no part of the version.
    """
    walk.inside = prefix.rstrip("/")
    with os.scandir(fd) as entries:
        for entry in entries:
            path = prefix + entry.name
            if is_deleted_on_nfs(entry.name):
                continue
            with suppress(FileNotFoundError):  # gone since it was listed: the next scan finds another fingerprint
                status = entry.stat(follow_symlinks=False)
                link_of_version = stat.S_ISLNK(status.st_mode) and not depth and len(walk.misplaced) < MAX_MISPLACED
                if link_of_version and (to := meant(root, fd, entry.name)):
                    walk.misplaced.append((entry.name, to))
                    continue
                walk.note(path, status)
                if not stat.S_ISDIR(status.st_mode) or status.st_dev != walk.device:
                    continue
                if depth + 1 >= MAX_DEPTH:
                    raise _TooMuch(f"deeper than {MAX_DEPTH} directories")
                walk.inside = path
                inner = os.open(entry.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    _walk(root, inner, path + "/", depth + 1, walk)
                finally:
                    os.close(inner)
                walk.inside = prefix.rstrip("/")


def _summary(name: str, top: os.stat_result, walk: _Walk) -> VersionSeen:
    # The directory's own times stay out: a chmod or a rename of the whole changes no content, nor does a misplaced
    # link that comes or goes. Whatever else is added, removed or replaced is seen in the lines of its entries.
    head = f"{top.st_dev}:{top.st_ino}"
    text = "\n".join([head, *sorted(walk.lines)]).encode("utf-8", "surrogateescape")
    return VersionSeen(
        name=name,
        fingerprint=hashlib.blake2b(text, digest_size=16).hexdigest(),
        bytes=sum(walk.files.values()),
        files=len(walk.files),
        newest_ns=max(walk.inner_ns, top.st_mtime_ns, top.st_ctime_ns),
        renamed_in=_renamed_in(top, walk),
        arriving=_arriving(walk),
        misplaced=tuple(sorted(walk.misplaced)),
    )


def _arriving(walk: _Walk) -> str:
    if not walk.entries:
        return "it holds no files yet"
    return f"{walk.unfinished} is the name of an unfinished copy or download" if walk.unfinished else ""


def _renamed_in(top: os.stat_result, walk: _Walk) -> bool:
    """Whether the directory was put in place as a whole and nothing in it was touched since.

    Adding or removing an entry sets a directory's modification and change time to the same instant; writing a file sets
    the file's. A rename of the directory sets its change time alone (ext4, xfs, btrfs, tmpfs), later than everything in
    it. `cp -a`, `mv` between file systems, rsync and tar set the directory's times when its content is complete, with
    the same trace. So a change time above the modification time and not below any time inside means: whole. A plain
    `cp -r` never shows it (both times are equal), nor does a directory in which a file was written afterwards. A chmod
    of the directory in the middle of a copy would, until the next write. Then the validator rejects a half copy. The
    finished one has other files, so it is judged again. Times from another system's clock, or set in the future, only
    lead to False, which costs the quiet time.
    """
    return bool(walk.files) and top.st_ctime_ns > top.st_mtime_ns and top.st_ctime_ns >= walk.inner_ns


def _sums_complete(fd: int, files: dict[str, int]) -> bool:
    """Whether SHA256SUMS is whole lines and lists only files that are there."""
    listed = list(_listed(fd))
    return bool(listed) and all(path in files for path in listed)


def _listed(fd: int) -> Iterator[str]:
    """The paths in SHA256SUMS; "" for a line that is none, so that no such manifest is complete."""
    try:
        sums = os.open(SUMS, _FILE, dir_fd=fd)
        with os.fdopen(sums, "rb") as file:
            data = file.read(MAX_SUMS_BYTES + 1)
    except OSError:
        yield ""
        return
    if len(data) > MAX_SUMS_BYTES or not data.endswith(b"\n"):
        yield ""
        return
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        if line.strip() and not line.startswith("#"):
            found = _SUM_LINE.fullmatch(line)
            yield found["path"].removeprefix("./") if found else ""


def _writing(fd: int, files: dict[str, int]) -> bool | None:
    """Whether any of the files is open for writing; None when none is known to be, and some cannot be checked."""
    answer: bool | None = False
    for path in sorted(files, key=lambda p: -files[p]):
        with suppress(FileNotFoundError):
            writing = open_for_writing(path, dir_fd=fd)
            if writing:
                return True
            if writing is None:
                answer = None
    return answer
