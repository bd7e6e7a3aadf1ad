"""What an address of the web offers: an archive, or a directory whose server shows what is in it.

Only what lies below the given address is taken. Lengths and digests come from SHA256SUMS and from the servers' answers.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ...worker.shared.sha256sums import BadSums, parse_sums
from ..errors import Refused
from ..models.upload_rules import MAX_DEPTH
from .directory_index import entries_of
from .http_get import shown
from .patient_get import PatientReader
from .remote_version import MAX_LISTED, RemoteFile, RemoteVersion
from .sources import WebSource, last_name, without_archive_ending

MAX_PAGE_BYTES: Final = 4 << 20
MAX_PAGES: Final = 100
_NOTHING: Final = (400, 401, 403, 404, 405, 410)
"""What servers answer about a list of checksums that is not there."""


class RemoteArchive(Struct, frozen=True):
    """A version in one file. `etag` is the server's name for its content, "" for none."""

    origin: str
    name: str
    file: RemoteFile
    etag: str = ""


def listed(reader: PatientReader, source: WebSource) -> RemoteVersion | RemoteArchive:
    """Raises Refused."""
    if source.archive:
        return _archive(reader, source.url)
    answer = reader.text(source.url, MAX_PAGE_BYTES)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("text/html", "application/xhtml+xml"):
        raise Refused(
            f"cannot fetch {shown(source.url)}: that is neither an archive (.tar, .tar.gz, .tar.bz2, .zip) nor a page "
            "that lists a directory"
        )
    top = answer.url if answer.url.endswith("/") else answer.url.partition("?")[0] + "/"
    files = _files_below(reader, top, answer.body)
    if not files:
        raise Refused(f"cannot fetch {shown(source.url)}: the page lists no files; is it that of a directory?")
    return RemoteVersion(shown(source.url), last_name(top) or (urlsplit(top).hostname or ""), tuple(files))


def sums_beside(reader: PatientReader, url: str, *, required: bool = False) -> dict[str, str]:
    """The list of checksums at an address; {} for none. Raises Refused for one that cannot be read."""
    answer = reader.text(url, MAX_SUMS_BYTES, also=() if required else _NOTHING)
    if answer.status != 200:
        return {}
    try:
        return parse_sums(answer.body)
    except BadSums as e:
        if required:
            raise Refused(f"cannot use {shown(url)}: {e}") from e
        return {}  # a page whose text is that it is not there


def _archive(reader: PatientReader, url: str) -> RemoteArchive:
    name = last_name(url)
    digest = sums_beside(reader, urljoin(url, SUMS)).get(name, "") or sums_beside(reader, _sum_of(url)).get(name, "")
    length, etag = reader.length_and_etag(url)
    return RemoteArchive(shown(url), without_archive_ending(name), RemoteFile(name, url, length, digest), etag)


def _sum_of(url: str) -> str:
    """Where the checksum of one file may lie: its name with .sha256 behind it."""
    return urljoin(url, "./" + urlsplit(url).path.rpartition("/")[2] + ".sha256")


def _files_below(reader: PatientReader, top: str, first: bytes) -> list[RemoteFile]:
    """The files of the directory and those below it, page by page."""
    found: list[RemoteFile] = []
    pages, pending = 0, [("", top)]
    while pending:
        prefix, url = pending.pop()
        pages += 1
        if pages > MAX_PAGES:
            raise Refused(f"cannot fetch {shown(top)}: it has more than {MAX_PAGES} directories")
        page = first if url == top else reader.text(url, MAX_PAGE_BYTES).body
        files, directories = entries_of(page.decode(errors="replace"), url)
        found += [RemoteFile(prefix + name, urljoin(url, quote(name))) for name in files]
        if len(found) > MAX_LISTED:
            raise Refused(f"cannot fetch {shown(top)}: it has more than {MAX_LISTED:,} files")
        if prefix.count("/") + 1 < MAX_DEPTH:
            pending += [(f"{prefix}{name}/", urljoin(url, quote(name) + "/")) for name in reversed(directories)]
    return found
