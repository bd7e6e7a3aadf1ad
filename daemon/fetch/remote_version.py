"""A version at another place, as its listing promises it: its files with their addresses, lengths and digests.

Pure. Invariant: what passed `checked` has paths below the version, and no more files and bytes than a version may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ...worker.shared.quantities import count, size
from ..errors import Refused
from ..models.upload_rules import MAX_UPLOAD_BYTES, member_path, why_not_together

MAX_LISTED: Final = 10_000
"""Entries of a listing; what has more is no version."""
MAX_FILES: Final = 2_000
MAX_SMALL_BYTES: Final = 16 << 20
"""One page of a listing."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_GIT: Final = re.compile(r"[0-9a-f]{40}")


class RemoteFile(Struct, frozen=True):
    """One file. `bytes` is -1 where its length is not known; `digest` as in WantedFile (file_part)."""

    path: str
    url: str
    bytes: int = -1
    digest: str = ""


class RemoteVersion(Struct, frozen=True):
    """All of them. `origin` is what the user named, `revision` is what it was pinned to, `wall` when that was made."""

    origin: str
    name: str
    files: tuple[RemoteFile, ...]
    revision: str = ""
    tag: str = ""
    wall: float = 0.0


def sha256_or_none(text: object) -> str:
    """A promised SHA-256 in small letters; "" for what is none."""
    found = text.strip().lower() if isinstance(text, str) else ""
    return found if _SHA256.fullmatch(found) else ""


def git_digest_or_none(text: object) -> str:
    """Git's digest of a blob; "" for what is none."""
    found = text.strip().lower() if isinstance(text, str) else ""
    return found if _GIT.fullmatch(found) else ""


def checked(origin: str, files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The files of a version, sorted. Raises Refused for paths and sizes that no version may have."""
    cannot, found = f"cannot fetch {origin}", list(files)
    if len(found) > MAX_FILES:
        raise Refused(f"{cannot}: it has {count(len(found), 'file')}, and a version has {MAX_FILES:,} at most")
    paths = [member_path(file.path, cannot) for file in found]
    if why := why_not_together(paths):
        raise Refused(f"{cannot}: {why}")
    total = sum(max(0, file.bytes) for file in found)
    if wrong := next((file for file in found if file.bytes < -1), None):
        length = max(wrong.bytes, -MAX_UPLOAD_BYTES)
        raise Refused(f"{cannot}: its list of files gives {wrong.path[:200]!r} a length of {length:,} bytes")
    if total > MAX_UPLOAD_BYTES:
        raise Refused(f"{cannot}: it has {size(total)}, and a version has {size(MAX_UPLOAD_BYTES)} at most")
    named = [RemoteFile(path, f.url, f.bytes, f.digest) for path, f in zip(paths, found, strict=True)]
    return tuple(sorted(named, key=lambda file: file.path))


def require_inside(origin: str, files: Iterable[RemoteFile]) -> None:
    """Raises Refused when a listing names anything outside of itself: then it is not believed in the rest either."""
    for file in files:
        if file.path.startswith("/") or ".." in file.path.split("/") or "\0" in file.path:
            raise Refused(f"cannot fetch {origin}: {file.path[:200]!r} leads outside the version")
