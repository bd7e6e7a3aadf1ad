"""What a repository of Hugging Face, or of a mirror of it, holds at one revision: by its HTTP interface.

`GET /api/models/ORG/NAME/revision/REVISION` names the commit, `…/tree/COMMIT?recursive=true` lists the files page by
page, `/ORG/NAME/resolve/COMMIT/PATH` is a file. Large files come with their SHA-256, small ones with Git's digest.
Invariant: all pages come from the endpoint itself, and all addresses name the commit.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import quote, urljoin

from msgspec import Struct
from msgspec.json import decode

from ...worker.shared.unreadable import UNREADABLE
from ..errors import Refused
from .http_get import origin
from .patient_get import PatientReader
from .remote_version import (
    MAX_LISTED,
    MAX_SMALL_BYTES,
    RemoteFile,
    RemoteVersion,
    git_digest_or_none,
    sha256_or_none,
)
from .sources import HubSource

ENDPOINT: Final = "https://huggingface.co"
BRANCH: Final = "main"
MAX_PAGES: Final = 200
"""Of the list of files. The hub puts 1,000 entries on a page."""
_NEXT: Final = re.compile(r'<([^<>]+)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_NOT_SHOWN: Final = (401, 403, 404)
T = TypeVar("T")


class _Revision(Struct):
    sha: str = ""
    lastModified: str = ""


class _Lfs(Struct):
    oid: str = ""
    size: int = -1


class _TreeEntry(Struct):
    type: str
    path: str
    size: int = -1
    oid: str = ""
    lfs: _Lfs | None = None


def listed(reader: PatientReader, source: HubSource, endpoint: str) -> RemoteVersion:
    """All files of the repository. Raises Refused."""
    wanted, base = source.revision or BRANCH, f"{endpoint}/api/models/{quote(source.repository)}"
    answer = reader.text(f"{base}/revision/{quote(wanted, safe='')}", MAX_SMALL_BYTES, also=_NOT_SHOWN)
    if answer.status in _NOT_SHOWN:
        said = f"the hub answered {answer.status}"
        raise Refused(f"cannot fetch {source}: there is no such repository or revision, or it needs HF_TOKEN ({said})")
    found = _read(answer.body, _Revision, source)
    if not _COMMIT.fullmatch(found.sha):
        raise Refused(f"cannot fetch {source}: the answer of {endpoint} names no commit")
    entries = _entries(reader, source, endpoint, f"{base}/tree/{found.sha}?recursive=true&expand=false")
    files = tuple(_file(entry, source, endpoint, found.sha) for entry in entries if entry.type == "file")
    tag = "" if wanted in (BRANCH, found.sha) else wanted
    name = source.repository.partition("/")[2]
    return RemoteVersion(str(source), name, files, revision=found.sha, tag=tag, wall=seconds_of(found.lastModified))


def _entries(reader: PatientReader, source: HubSource, endpoint: str, page: str) -> list[_TreeEntry]:
    """The entries of all pages. Raises Refused."""
    entries: list[_TreeEntry] = []
    for _ in range(MAX_PAGES):
        if origin(page) != origin(endpoint):
            raise Refused(f"cannot fetch {source}: the list of its files goes on at another host")
        answer = reader.text(page, MAX_SMALL_BYTES)
        more = _read(answer.body, list[_TreeEntry], source)
        entries += more
        if len(entries) > MAX_LISTED:
            raise Refused(f"cannot fetch {source}: it has more than {MAX_LISTED:,} files")
        if not (page := next_page(page, answer.headers.get("link", ""))):
            return entries
        if not more:
            raise Refused(f"cannot fetch {source}: a page of the list of its files is empty and names another one")
    raise Refused(f"cannot fetch {source}: the list of its files has more than {MAX_PAGES} pages")


def next_page(page: str, link: str) -> str:
    """The address of the next page by the header Link (RFC 8288); "" for none, or for the same page again."""
    found = _NEXT.search(link)
    try:
        to = urljoin(page, found[1]) if found else ""
    except ValueError:
        return found[1] if found else ""  # no address of the web, and refused as one
    return "" if to == page else to


def seconds_of(text: str) -> float:
    """A time of the interface in seconds since 1970; 0 for none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _file(entry: _TreeEntry, source: HubSource, endpoint: str, commit: str) -> RemoteFile:
    url = f"{endpoint}/{quote(source.repository)}/resolve/{commit}/{quote(entry.path)}"
    if entry.lfs is not None:
        return RemoteFile(entry.path, url, entry.lfs.size, sha256_or_none(entry.lfs.oid))
    return RemoteFile(entry.path, url, entry.size, git_digest_or_none(entry.oid))


def _read(body: bytes, kind: type[T], source: HubSource) -> T:
    try:
        return decode(body, type=kind)
    except UNREADABLE as e:
        raise Refused(f"cannot fetch {source}: the answer is not that of Hugging Face: {e}") from e
