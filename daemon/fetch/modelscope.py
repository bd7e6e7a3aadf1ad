"""What a repository of ModelScope holds at one revision: by its HTTP interface.

`GET /api/v1/models/ORG/NAME/repo/files?Revision=…&Recursive=true` lists all files with their SHA-256 and names the last
commit; `…/repo?Revision=…&FilePath=…` is a file. A revision that is not there is answered with no files. Invariant: the
addresses name the commit where the hub gives it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from msgspec import Struct
from msgspec.json import decode

from ...worker.shared.unreadable import UNREADABLE
from ..errors import Refused
from .patient_get import PatientReader
from .remote_version import MAX_SMALL_BYTES, RemoteFile, RemoteVersion, sha256_or_none
from .sources import HubSource

ENDPOINT: Final = "https://modelscope.cn"
BRANCH: Final = "master"
LISTED_AT_MOST: Final = 3_000
"""The hub cuts a longer list off without a sign of it."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


class _ListedFile(Struct):
    Path: str
    Type: str = ""
    Size: int = -1
    Sha256: str | None = None
    Revision: str | None = None
    CommittedDate: float | None = None


class _Committer(Struct):
    Id: str | None = None
    ShortId: str | None = None
    CommittedDate: float | None = None


class _Data(Struct):
    Files: list[_ListedFile] | None = None
    LatestCommitter: _Committer | None = None


class _Answer(Struct):
    Success: bool | None = None
    Message: str | None = None
    Data: _Data | None = None


def listed(reader: PatientReader, source: HubSource, endpoint: str) -> RemoteVersion:
    """All files of the repository. Raises Refused."""
    wanted = source.revision or BRANCH
    base = f"{endpoint}/api/v1/models/{quote(source.repository)}/repo"
    answer = reader.text(f"{base}/files?Revision={quote(wanted, safe='')}&Recursive=true", MAX_SMALL_BYTES, also=(404,))
    try:
        found = decode(answer.body, type=_Answer)
    except UNREADABLE as e:
        raise Refused(f"cannot fetch {source}: the answer is not that of ModelScope: {e}") from e
    if answer.status == 404 or found.Success is False or found.Data is None:
        said = f" ({found.Message[:200]})" if found.Message else ""
        raise Refused(f"cannot fetch {source}: there is no such repository, or it needs MODELSCOPE_API_TOKEN{said}")
    if not found.Data.Files:
        raise Refused(f"cannot fetch {source}: it has no files at the revision {wanted}; is that a branch of it?")
    if len(found.Data.Files) >= LISTED_AT_MOST:
        raise Refused(f"cannot fetch {source}: it has more files than the hub lists, {LISTED_AT_MOST:,}")
    blobs = [entry for entry in found.Data.Files if entry.Type != "tree"]
    commit = commit_of(found.Data.LatestCommitter, blobs)
    at = quote(commit or wanted, safe="")
    files = tuple(
        RemoteFile(e.Path, f"{base}?Revision={at}&FilePath={quote(e.Path, safe='')}", e.Size, sha256_or_none(e.Sha256))
        for e in blobs
    )
    committed = found.Data.LatestCommitter.CommittedDate if found.Data.LatestCommitter else None
    wall = committed or max((e.CommittedDate or 0.0 for e in blobs), default=0.0)
    tag = "" if wanted in (BRANCH, commit) else wanted
    name = source.repository.partition("/")[2]
    return RemoteVersion(str(source), name, files, revision=commit or wanted, tag=tag, wall=wall)


def commit_of(last: _Committer | None, blobs: list[_ListedFile]) -> str:
    """The commit of the listing: the hub gives it whole, or its first digits and the last commit of each file.

    "" where it cannot be known.
    """
    if last is None:
        return ""
    if last.Id and _COMMIT.fullmatch(last.Id):
        return last.Id
    short = last.ShortId or ""
    found = {e.Revision for e in blobs if e.Revision and _COMMIT.fullmatch(e.Revision) and e.Revision.startswith(short)}
    return next(iter(found)) or "" if len(short) >= 7 and len(found) == 1 else ""
