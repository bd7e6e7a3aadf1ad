"""Brings a version from another place into the model root: lists, chooses, checks the room, downloads, renames in.

It is used by commands, never by the daemon's own rounds. What came is kept after a failure, and the same fetch
continues. Invariants: every file has its promised length and digest. The version gets a list of its checksums, so that
it is validated at once. Nothing that is there is replaced.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ...worker.shared.durable_files import write_new
from ...worker.shared.sha256sums import BadSums, parse_sums, written_sums
from ..errors import Refused
from ..models.fetch_parts import remove_left
from ..system.disk_room import Reserve
from . import hugging_face, modelscope, web_listing
from .download import Download
from .file_choice import SIGNATURE, choose
from .file_part import NOTE, PART, Downloaded, FilePart, WantedFile
from .part_directory import PartDirectory, part_directory, require_name
from .patient_get import PatientReader
from .remote_version import RemoteFile, RemoteVersion, checked, require_inside
from .sources import HubSource, WebSource
from .version_naming import version_name, with_date
from .web_listing import RemoteArchive

_PARTS: Final = "parts"
_SHA256_DIGITS: Final = 64
TOUCH_BYTES: Final = 64 << 20


class FetchTarget(Struct, frozen=True):
    """Where versions go: the model root, the name of its link, and what must stay free."""

    root: Path
    link: str = "current"
    reserve: Reserve = lambda total_bytes: 0


class FetchOptions(Struct, frozen=True):
    """What of the source is taken, and under which name. "" and False: what fits."""

    name: str = ""
    model: str = ""
    everything: bool = False


class Fetched(Struct, frozen=True):
    """What came of it. Not `new`: the same version was there already."""

    name: str
    path: Path
    files: int
    bytes: int
    revision: str
    new: bool


class FetchView(Protocol):
    """What shows a fetch to the user."""

    def began(self, name: str, files: int, total_bytes: int) -> None:
        """It is known what comes; -1 bytes where the length is not."""

    def came(self, there_bytes: int, total_bytes: int) -> None:
        """So many bytes have arrived."""

    def waits(self, because: str, seconds: float) -> None:
        """A pause before another try."""


Transfer = Callable[[RemoteFile, Path], None]
"""Another way to get one file: a hub's own library. It leaves the file at the path."""


class Fetcher:
    """See the module."""

    def __init__(self, reader: PatientReader, view: FetchView, place: FetchTarget) -> None:
        self._reader, self._view, self.place = reader, view, place

    def listed(self, source: HubSource, endpoint: str) -> RemoteVersion:
        """What a repository holds. Raises Refused."""
        if source.hub == "hf":
            return hugging_face.listed(self._reader, source, endpoint)
        return modelscope.listed(self._reader, source, endpoint)

    def offered(self, source: WebSource) -> RemoteVersion | RemoteArchive:
        """What an address of the web offers. Raises Refused."""
        return web_listing.listed(self._reader, source)

    def fetch(self, remote: RemoteVersion, options: FetchOptions, transfer: Transfer | None = None) -> Fetched:
        """Fetches the files of a version. Raises Refused and OSError."""
        files, sums = self._chosen(remote, options)
        name = options.name or version_name(remote.name, revision=remote.tag, wall=remote.wall)
        comment = f"{remote.origin} at {remote.revision}" if remote.revision else remote.origin
        cannot, target = f"cannot fetch {name}", self.place.root / name
        require_name(name, self.place.link, cannot)
        if os.path.lexists(target):
            self._require_same(target, files, comment, remote)
            remove_left(self.place.root, name)
            return Fetched(name, target, len(files), sum(file.bytes for file in files), remote.revision, new=False)
        with part_directory(self.place.root, name, self.place.link, self.place.reserve, cannot) as part:
            part.begin(keep=True)
            _remove_others(part, files)
            files = [self._with_length(file) for file in files]
            there = sum(_there(part, file) for file in files)
            total = sum(file.bytes for file in files) if all(file.bytes >= 0 for file in files) else -1
            part.require_room(max(0, total - there))
            (part.aside / _PARTS).mkdir(mode=0o700, exist_ok=True)
            self._view.began(name, len(files), total)
            done = self._downloaded(part, files, total, transfer)
            if not sums:
                write_new_over(part.files / SUMS, written_sums({p: d.sha256 for p, d in done.items()}, [comment]))
            count, size = part.place()
            part.remove()
        return Fetched(name, target, count, size, remote.revision, new=True)

    def downloaded_alone(self, part: PartDirectory, file: RemoteFile, to: Path, growth: int) -> Downloaded:
        """One file that is no part of the version itself. It takes `growth` times its length in the end."""
        file = self._with_length(file)
        aside = to.with_name(f"{to.name}.aside")
        there = sum(path.stat().st_size for path in (to, aside.with_name(aside.name + PART)) if path.exists())
        part.require_room(max(0, file.bytes * growth - there))
        self._view.began(to.name, 1, file.bytes)
        return self._download(part, 0, file.bytes).fetch(WantedFile(file.url, file.bytes, file.digest), to, aside)

    def _chosen(self, remote: RemoteVersion, options: FetchOptions) -> tuple[list[RemoteFile], dict[str, str]]:
        """The files to take, with the digests that the source's own list promises, and that list."""
        require_inside(remote.origin, remote.files)
        by_path = {file.path: file for file in remote.files}
        if len(by_path) != len(remote.files):
            raise Refused(f"cannot fetch {remote.origin}: it lists a file twice")
        sums: dict[str, str] = {}
        if SUMS in by_path:
            sums = web_listing.sums_beside(self._reader, by_path[SUMS].url, required=True)
        choice = choose(list(by_path), sums=sums, model=options.model, everything=options.everything)
        files = [_promised(by_path[path], sums.get(path, ""), remote.origin) for path in choice.paths]
        return list(checked(remote.origin, files)), sums

    def _with_length(self, file: RemoteFile) -> RemoteFile:
        return file if file.bytes >= 0 else replace(file, bytes=self._reader.length(file.url))

    def _downloaded(
        self, part: PartDirectory, files: list[RemoteFile], total: int, transfer: Transfer | None
    ) -> dict[str, Downloaded]:
        """Every file, in its place."""
        done: dict[str, Downloaded] = {}
        before = 0
        for file in files:
            place, aside = part.files / file.path, _aside(part, file)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            wanted = WantedFile(file.url, file.bytes, file.digest)
            if transfer is not None:
                done[file.path] = _taken_over(transfer, file, wanted, place, aside)
            else:
                done[file.path] = self._download(part, before, total).fetch(wanted, place, aside)
            before += done[file.path].bytes
            self._view.came(before, total)
            part.touch()
        return done

    def _download(self, part: PartDirectory, before: int, total: int) -> Download:
        touched = 0

        def came(there: int, promised: int) -> None:
            nonlocal touched
            self._view.came(before + there, total)
            if there - touched >= TOUCH_BYTES:
                touched = there
                part.touch()

        return Download(
            self._reader.reader,
            self._reader.clock,
            pace=self._reader.pace,
            progress=came,
            may_write=part.require_room,
            retries=self._view.waits,
        )

    def _require_same(self, target: Path, files: list[RemoteFile], comment: str, remote: RemoteVersion) -> None:
        """Raises Refused when the version that is there is another one than these files."""
        sums, comments = _sums_in(target)
        promised = {file.path: file.digest for file in files if file.path not in (SUMS, SIGNATURE)}
        alike = set(sums) == set(promised)
        proved = all(len(d) == _SHA256_DIGITS and sums.get(path) == d for path, d in promised.items())
        if alike and (proved or (bool(remote.revision) and comment in comments)):
            return
        other = with_date(target.name, remote.wall)
        raise Refused(
            f"cannot fetch {target.name}: {target} exists, and may be another version; --as {other} keeps both"
        )


def write_new_over(path: Path, content: bytes) -> None:
    """Writes a file that an earlier try may have left."""
    with suppress(FileNotFoundError):
        path.unlink()
    write_new(path, content, 0o600)


def _promised(file: RemoteFile, sha256: str, origin: str) -> RemoteFile:
    """The file with the digest of the source's own list."""
    if sha256 and len(file.digest) == _SHA256_DIGITS and sha256 != file.digest:
        raise Refused(f"cannot fetch {origin}: {SUMS} and the hub promise different content of {file.path}")
    return replace(file, digest=sha256) if sha256 else file


def _aside(part: PartDirectory, file: RemoteFile) -> Path:
    """Where the part of a file and its note lie: outside of the version."""
    return part.aside / _PARTS / hashlib.sha256(file.path.encode()).hexdigest()[:32]


def _there(part: PartDirectory, file: RemoteFile) -> int:
    """How much of a file is on the disk."""
    found = 0
    for path in (part.files / file.path, _aside(part, file).with_name(_aside(part, file).name + PART)):
        with suppress(FileNotFoundError):
            found = max(found, path.lstat().st_size)
    return min(found, max(0, file.bytes))


def _remove_others(part: PartDirectory, files: Collection[RemoteFile]) -> None:
    """Removes what an earlier try left and this one does not want."""
    wanted = {file.path for file in files}
    for directory, below, names in os.walk(part.files, topdown=False):
        for name in names:
            path = Path(directory) / name
            if str(path.relative_to(part.files)) not in wanted:
                path.unlink()
        for name in below:
            with suppress(OSError):  # it is not empty
                (Path(directory) / name).rmdir()
    kept = {_aside(part, file).name for file in files}
    for path in (part.aside / _PARTS).glob("*"):
        if path.name.removesuffix(".new").removesuffix(PART).removesuffix(NOTE) not in kept:
            path.unlink()


def _taken_over(transfer: Transfer, file: RemoteFile, wanted: WantedFile, place: Path, aside: Path) -> Downloaded:
    """A file that a hub's library brings, checked as ours is."""
    part = FilePart(wanted, place, aside)
    if (done := part.done()) is not None:
        return done
    part.restart()
    transfer(file, part.path)
    part = FilePart(wanted, place, aside, whole=True)
    try:
        if file.bytes >= 0 and part.offset != file.bytes:
            raise Refused(f"cannot fetch {file.path}: it has {part.offset:,} bytes, and {file.bytes:,} are promised")
        if file.digest and part.digest() != file.digest:
            found = part.digest()
            part.restart()
            raise Refused(
                f"cannot fetch {file.path}: its digest is {found} and not {file.digest}; nothing of it was kept"
            )
        return part.finish()
    finally:
        part.close()


def comments_in(target: Path) -> set[str]:
    """Where the files of a version that is there came from, as its list of checksums has it."""
    return _sums_in(target)[1]


def _sums_in(target: Path) -> tuple[dict[str, str], set[str]]:
    """The list of checksums in a version that is there, and its comments."""
    try:
        with open(target / SUMS, "rb") as file:
            data = file.read(MAX_SUMS_BYTES)
        comments = {line.removeprefix("# ") for line in data.decode().split("\n") if line.startswith("# ")}
        return parse_sums(data), comments
    except (OSError, BadSums, UnicodeDecodeError):
        return {}, set()
