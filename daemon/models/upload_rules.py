"""What an upload may be: its name, its files, their paths and sizes. Pure; raises Refused with the reason.

Nothing that a browser or an archive names is used before it went through here. Invariant: a path that passes is
relative, names a place below its directory, and is no deeper than a version may be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from msgspec import Struct

from ...worker.shared.quantities import size as size_text
from ..answers.uploads import DIRECTORY, KINDS, MAX_FILES, UploadFile
from ..errors import Refused
from ..names import NO_VERSIONS, is_version_name, why_ignored
from ..system.disk_room import DiskRoom

MAX_UPLOADS: Final = 4
MAX_MEMBERS: Final = 2_000
MAX_DEPTH: Final = 7
"""Directories in a version, less than what the look at the model root enters."""
MAX_PATH_BYTES: Final = 1_000
MAX_NAME_BYTES: Final = 255
MAX_UPLOAD_BYTES: Final = 64 << 30
MAX_CHUNK_BYTES: Final = 8 << 20
ABANDONED_SECONDS: Final = 86_400.0


class UploadPlan(Struct, frozen=True):
    """An upload as it was announced. An archive is one file."""

    version: str
    kind: str
    files: tuple[UploadFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def room_bytes(self) -> int:
        """What it takes on the disk at most: an archive lies beside what is unpacked."""
        return self.bytes * (1 if self.kind == DIRECTORY else 2)


def plan(version: str, kind: str, files: Sequence[UploadFile], *, link: str, taken: Collection[str]) -> UploadPlan:
    """The upload, its paths below the version. `taken` are the names that are there or on their way."""
    cannot = f"cannot upload {version[:MAX_NAME_BYTES]!r}"
    if why := why_not_name(version, link, taken):
        raise Refused(f"{cannot}: {why}")
    if kind not in KINDS:
        raise Refused(f"{cannot}: its kind is none of {', '.join(KINDS)}")
    if not files or len(files) > (MAX_FILES if kind == DIRECTORY else 1):
        most = f"a directory of 1 to {MAX_FILES} files" if kind == DIRECTORY else "one archive"
        raise Refused(f"{cannot}: {len(files)} files; it has to be {most}")
    if any(file.bytes < 0 for file in files) or sum(file.bytes for file in files) > MAX_UPLOAD_BYTES:
        raise Refused(f"{cannot}: it may have up to {size_text(MAX_UPLOAD_BYTES)}")
    if kind != DIRECTORY:
        return UploadPlan(version, kind, (UploadFile("archive", files[0].bytes),))
    paths = below_the_top([member_path(file.path, cannot) for file in files])
    if why := why_not_together(paths):
        raise Refused(f"{cannot}: {why}")
    return UploadPlan(version, kind, tuple(UploadFile(p, f.bytes) for p, f in zip(paths, files, strict=True)))


def why_not_name(version: str, link: str, taken: Collection[str]) -> str:
    """Why no version of this name can be put there; "" when it can."""
    if why := why_ignored(version):
        return why
    if version in NO_VERSIONS:
        return "that is a directory of the file system itself"
    if not is_version_name(version):
        return "a version's name is not hidden, has no slash, and does not end in .tmp, .part or ~"
    if version == link or version in (".", ".."):
        return "that is the name of the link"
    return "there is a version or an upload of that name; delete it, or choose another name" if version in taken else ""


def member_path(path: str, cannot: str) -> str:
    """The path of a file, checked; a leading `./` and double slashes are dropped."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if path.startswith("/") or ".." in names or "\\" in path or not names:
        raise Refused(f"{cannot}: {path[:200]!r} leads outside the version")
    if not path.isprintable():
        raise Refused(f"{cannot}: {path[:200]!r} has characters that can't be printed")
    if len(names) > MAX_DEPTH:
        raise Refused(f"{cannot}: {path[:200]!r} is deeper than {MAX_DEPTH} names")
    try:
        longest = max(len(name.encode()) for name in names)
    except UnicodeEncodeError as e:
        raise Refused(f"{cannot}: {path[:200]!r} is no Unicode") from e
    if longest > MAX_NAME_BYTES or len(path.encode()) > MAX_PATH_BYTES:
        raise Refused(f"{cannot}: the path {path[:60]!r}… is too long")
    return "/".join(names)


def below_the_top(paths: Sequence[str]) -> list[str]:
    """The paths without the one directory that all of them are in, if there is one."""
    tops = {path.partition("/")[0] for path in paths}
    if len(tops) != 1 or not all("/" in path for path in paths):
        return list(paths)
    return [path.partition("/")[2] for path in paths]


def why_not_together(paths: Iterable[str]) -> str:
    """Why these paths can't be files of one directory; "" when they can."""
    seen: set[str] = set()
    for path in sorted(paths):
        if path in seen:
            return f"{path[:200]!r} is there twice"
        seen.add(path)
    for path in seen:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if (above := "/".join(parts[:depth])) in seen:
                return f"{above[:200]!r} is a file and a directory"
    return ""


def why_no_room(wanted_bytes: int, pending_bytes: int, room: DiskRoom) -> str:
    """Why so much more has no room besides what was announced before and what must stay free; "" when it has."""
    left = room.bytes - pending_bytes
    if wanted_bytes <= left:
        return ""
    return (
        f"it needs {size_text(wanted_bytes)} and there is room for {size_text(max(0, left))} "
        f"({room}; {size_text(pending_bytes)} for other uploads)"
    )
