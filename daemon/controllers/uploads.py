"""Takes versions that are sent piece by piece, and deletes versions that are not needed.

What comes lies hidden in the model root until it is whole. Then it is renamed into place, and is settled, judged and
chosen like any other version. Every file is touched on a thread, one call on an upload at a time. Invariant: what is
live, held, serving, wanted or the way back is never deleted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog

from ...worker.shared.quantities import count, size
from ..answers.commands import CommandOutcome
from ..answers.uploads import UploadFile, UploadFileReport, UploadPiece, UploadReport, UploadsAnswer
from ..config.load import Config
from ..errors import NotKnown, Refused
from ..models import fetch_parts, link, link_place
from ..models import upload_rules as rules
from ..models.lifecycle import VersionState
from ..models.snapshot import Names, RootSeen
from ..models.upload_area import UploadArea, UploadSeen
from ..state.async_store import AsyncStore
from ..system.background import here
from ..system.clock import Clock, rfc3339
from ..system.safe_paths import open_directory
from ..upkeep.disk.trash import throw_away
from ..upkeep.fs_port import FileSystemPort
from .maintenance import Maintenance
from .validation import Validation
from .wakeups import Wakeups

T = TypeVar("T")
CLEAN_SECONDS: Final = 3600.0
WRITE_BYTES: Final = 1 << 20
SILENT_SECONDS: Final = 60.0
"""So long a piece may stand still."""
ANSWER_SECONDS: Final = 10.0
"""So long a thread waits for the event loop."""


class VersionUploads:
    """A controller of a round; see the module."""

    name = "uploads"

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        validation: Validation,
        maintenance: Maintenance,
        async_store: AsyncStore,
        wakeups: Wakeups,
    ) -> None:
        self._config, self._clock, self._validation, self._maintenance = config, clock, validation, maintenance
        self._async_store, self._wakeups = async_store, wakeups
        self._log = structlog.get_logger("uploads")
        self._files = FileSystemPort()
        self._stop = threading.Event()
        self._busy: set[str] = set()
        self._one = asyncio.Lock()
        self._due = clock.monotonic()
        self._cleaning: asyncio.Task[None] | None = None

    # as a controller

    async def ensure(self) -> None:
        if self._clock.monotonic() >= self._due and (self._cleaning is None or self._cleaning.done()):
            self._due = self._clock.monotonic() + CLEAN_SECONDS
            self._cleaning = here().start("abandoned uploads", self._clean)

    def next_due(self) -> float | None:
        """None while it cleans: a disk that hangs must not make rounds follow one another."""
        return self._due if self._cleaning is None or self._cleaning.done() else None

    async def stop(self) -> None:
        self._stop.set()

    async def _clean(self) -> None:
        """Removes what was abandoned; a model root that cannot be read and a wrong clock are reported by others."""
        if self._read_only() or await self._maintenance.clock_trouble_now():
            return
        root, now = self._config().models.root, self._clock.wall()
        try:
            async with self._one:
                found = await asyncio.to_thread(self._area().abandoned, now)
            await asyncio.to_thread(fetch_parts.remove_abandoned, root, now)  # a command began them, and shows them
        except OSError:
            return
        for version in found:
            self._async_store.note("upload-abandoned", version, "nothing came for a day; what there was is removed")

    # uploads

    async def uploads(self) -> UploadsAnswer:
        found = await self._on_thread("show uploads", self._area().seen)
        return UploadsAnswer([_report(upload) for upload in found], rules.MAX_CHUNK_BYTES, self._read_only())

    async def begin(self, version: str, kind: str, files: list[UploadFile]) -> UploadReport:
        """A new upload. Raises Refused."""
        if why := self._read_only():
            raise Refused(f"cannot upload {version[:255]}: {why}")
        begin = partial(self._area().begin, version, kind, files, self._config().models.link)
        async with self._one:
            return _report(await self._on_thread(f"upload {version[:255]}", begin))

    async def take(self, upload: str, number: int, offset: int, pieces: AsyncIterator[bytes]) -> UploadPiece:
        """Adds a piece to a file, as it comes. Raises Refused, also while another request is about the same upload."""
        with _InHand(self._busy, upload):
            area, waiting, there, came = self._area(), bytearray(), offset, 0
            while True:
                piece = await self._next(pieces)
                came += len(piece or b"")
                if came > rules.MAX_CHUNK_BYTES:
                    raise Refused(f"cannot take this: a piece has {rules.MAX_CHUNK_BYTES} bytes at most")
                waiting += piece or b""
                if len(waiting) >= WRITE_BYTES or piece is None:
                    write = partial(area.write, upload, number, there, bytes(waiting))
                    there = await self._on_thread("take this", write)
                    waiting.clear()
                if piece is None:
                    return UploadPiece(there)

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                return await anext(pieces, None)
        except TimeoutError as e:
            raise Refused(f"cannot take this: nothing came for {SILENT_SECONDS:g} s; go on from what is there") from e

    async def finish(self, upload: str) -> CommandOutcome:
        """Puts the version into the model root, where it is judged. Raises Refused."""
        with _InHand(self._busy, upload):
            finish = partial(self._area().finish, upload, self._may_go_on)
            version, files, total = await self._on_thread("finish an upload", finish)
        what = f"{count(files, 'file')}, {size(total)}"
        self._async_store.note("uploaded", version, what)
        self._log.info("uploaded", version=version, files=files, bytes=total)
        await self._scanned()
        return CommandOutcome(True, f"{version} is in the model root ({what}); it is judged now")

    async def drop(self, upload: str) -> CommandOutcome:
        """Removes what came of an upload. Raises NotKnown."""
        with _InHand(self._busy, upload):
            version = await self._on_thread("drop an upload", partial(self._area().drop, upload))
        return CommandOutcome(True, f"the upload of {version} is dropped")

    def _read_only(self) -> str:
        """Why nothing can be written in the model root, as of the last scan; "" when it can."""
        sight = self._validation.sight
        return sight.linked.read_only if isinstance(sight, RootSeen) else ""

    def _may_go_on(self) -> None:
        if self._stop.is_set():
            raise Refused("cannot go on: the daemon ends; what came is kept")

    def _area(self) -> UploadArea:
        config = self._config()
        return UploadArea(config.models.root, self._files.rename_noreplace, config.disk.min_free.of)

    # deleting

    async def delete(self, version: str) -> CommandOutcome:
        """Moves a version out of the model root; the next sweep removes it. Raises Refused and NotKnown."""
        entry = self._validation.catalog.get(version)
        if entry is None:
            raise NotKnown(f"cannot delete {version[:255]!r}: there is no such version")
        if why := self._must_stay(version):
            raise Refused(f"cannot delete {version}: it must stay ({why})")
        stamp_ns, loop = int(self._clock.wall() * 1e9), asyncio.get_running_loop()
        await self._on_thread(f"delete {version}", partial(self._throw_away, version, stamp_ns, loop))
        self._async_store.note("deleted", version, "asked for by command")
        self._log.info("deleted", version=version)
        await self._scanned()
        return CommandOutcome(True, f"{version} is deleted; the next sweep frees {size(entry.seen.bytes)}")

    def _must_stay(self, version: str) -> str:
        entry = self._validation.catalog.get(version)
        if not isinstance(self._validation.sight, RootSeen):
            return "the model root can't be read"
        if why := self._read_only():
            return why
        if self._async_store.unread:
            return "the state can't be read: it may be held"
        if entry is None:
            return "it has changed"
        if entry.state is VersionState.VALIDATING:
            return "it is being judged"
        return self._maintenance.protected().get(version, "")

    def _throw_away(self, version: str, stamp_ns: int, loop: asyncio.AbstractEventLoop) -> None:
        root = open_directory(str(Path(self._config().models.root).absolute()))
        try:
            check = partial(self._check_again, version, loop)
            throw_away(root, version, self._files, stamp_ns=stamp_ns, check=check)
        finally:
            self._files.close(root)

    def _check_again(self, version: str, loop: asyncio.AbstractEventLoop) -> None:
        """On the thread, which may have waited long: what the version is needed for can have changed meanwhile."""
        models, answer = self._config().models, Future[str]()
        at = link_place.find(models.root, link_place.place_of(self._config())).at
        found = link.read(models.root, at)  # first: it is the disk that may take long
        loop.call_soon_threadsafe(lambda: answer.set_result(self._must_stay(version)))
        try:
            why = answer.result(ANSWER_SECONDS)
        except FutureTimeout:
            busy = "the daemon is too busy to check that it may go; try again"
            raise Refused(f"cannot delete {version}: {busy}") from None
        if isinstance(found, Names) and found.version == version:
            why = "live"
        if why:
            raise Refused(f"cannot delete {version}: it must stay ({why})")

    # helpers

    async def _scanned(self) -> None:
        await self._validation.scan()
        self._wakeups.wake()

    async def _on_thread(self, what: str, work: Callable[[], T]) -> T:
        """Raises Refused for every error of the system."""
        try:
            return await asyncio.to_thread(work)
        except OSError as e:
            raise Refused(f"cannot {what}: {e.strerror or e}") from e


class _InHand:
    """One request at a time does something to an upload."""

    def __init__(self, busy: set[str], upload: str) -> None:
        self._busy, self._upload = busy, upload

    def __enter__(self) -> None:
        if self._upload in self._busy:
            raise Refused("cannot do two things to an upload at the same time; try again")
        if len(self._busy) >= rules.MAX_UPLOADS:
            raise Refused(f"cannot do this now: {rules.MAX_UPLOADS} uploads are at work; try again")
        self._busy.add(self._upload)

    def __exit__(self, *_: object) -> None:
        self._busy.discard(self._upload)


def _report(upload: UploadSeen) -> UploadReport:
    plan = upload.plan
    files = [UploadFileReport(f.path, f.bytes, there) for f, there in zip(plan.files, upload.received, strict=True)]
    return UploadReport(
        id=upload.id,
        version=plan.version,
        kind=plan.kind,
        bytes=plan.bytes,
        received=upload.received_bytes,
        touched=rfc3339(upload.touched),
        files=files,
    )
