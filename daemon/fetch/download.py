"""Downloads one file: by byte ranges, so that it goes on where it ended, with its digest taken as it comes.

It retries what may succeed later, with growing pauses and a limit, and refuses what will not. It knows nothing of
versions or hubs. Blocks; for a command, or for a thread of a program that ends it by `HttpReader.stop`. Invariants: not
more than was promised is written; a file that is done has its promised length and digest and is synced.
"""

from __future__ import annotations

import http.client
import random
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from ...worker.shared.quantities import size
from ..errors import Refused
from ..system.clock import Clock
from ..system.retry_after import retry_after
from .file_part import Downloaded, FilePart, PartNote, WantedFile
from .http_get import HttpReader, NotAnswered, shown, why

PIECE_BYTES: Final = 1 << 18
MAX_FILE_BYTES: Final = 64 << 30
MAX_TRIES: Final = 200
LONGEST_PAUSE_SECONDS: Final = 300.0
AGAIN: Final = (408, 425, 429, 500, 502, 503, 504, 520, 522, 524)
"""Statuses after which another try may succeed."""
Retries = Callable[[str, float], None]
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


class Pace(Struct, frozen=True):
    """How patient a download is. `tries` without progress; `rate_bytes` a second, 0 for no limit."""

    tries: int = 6
    pause_seconds: float = 1.0
    longest_seconds: float = 30.0
    rate_bytes: int = 0


class _Again(Exception):
    """This try came to nothing, another may; `after_seconds` is what the server requested."""

    def __init__(self, because: str, after_seconds: float = 0.0) -> None:
        super().__init__(because)
        self.after_seconds = after_seconds


class Download:
    """See the module. A part, and a note of what it is of, lie in the place that the caller names.

    `progress(there, promised)` is called with bytes as they come, and may raise to end it. `may_write(bytes)` is called
    before each piece and raises when the disk has no room.
    """

    def __init__(
        self,
        reader: HttpReader,
        clock: Clock,
        *,
        pace: Pace | None = None,
        progress: Callable[[int, int], None] = lambda there, promised: None,
        may_write: Callable[[int], None] = lambda count: None,
        retries: Retries = lambda because, seconds: None,
    ) -> None:
        self._reader, self._clock, self._pace = reader, clock, pace or Pace()
        self._progress, self._may_write, self._retries = progress, may_write, retries

    def fetch(self, wanted: WantedFile, place: Path, aside: Path) -> Downloaded:
        """Downloads the file to `place`, or continues; nothing to do where it is complete.

        `aside` is a path on the same file system; with an ending each it names the part and its note, which stays.
        Raises Refused and OSError.
        """
        if wanted.bytes > MAX_FILE_BYTES:
            raise Refused(f"cannot fetch {shown(wanted.url)}: it has {size(wanted.bytes)}, too much for a model")
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        failures, there = 0, -1
        for _ in range(MAX_TRIES):
            part = FilePart(wanted, place, aside)
            if (done := part.done()) is not None and (wanted.digest or self._unchanged(wanted, part.note)):
                return done
            try:
                return self._attempt(wanted, part)
            except (_Again, NotAnswered) as e:
                failures = failures + 1 if part.on_disk() <= there else 1
                there = max(there, part.on_disk())
                if failures >= self._pace.tries:
                    raise Refused(
                        f"cannot fetch {shown(wanted.url)}: {e}; tried {failures} times; what came is kept, and the "
                        "same command continues"
                    ) from e
                self._wait(str(e), failures, getattr(e, "after_seconds", 0.0))
            finally:
                part.close()
        broke = f"the connection broke {MAX_TRIES} times; the same command continues"
        raise Refused(f"cannot fetch {shown(wanted.url)}: {broke}")

    def _attempt(self, wanted: WantedFile, part: FilePart) -> Downloaded:
        """One request. Raises _Again, NotAnswered, Refused, OSError."""
        headers = {"Accept-Encoding": "identity"}
        if part.offset:
            headers["Range"] = f"bytes={part.offset}-"
            if part.note.validator and not wanted.digest:  # with a digest the content itself is checked
                headers["If-Range"] = part.note.validator
        if part.offset == wanted.bytes:
            return self._finished(wanted, part)  # it ended between the last byte and the check
        with self._reader.get(wanted.url, headers) as (response, _):
            self._take_up(wanted, part, response)
            self._read(wanted, part, response)
        return self._finished(wanted, part)

    def _take_up(self, wanted: WantedFile, part: FilePart, response: http.client.HTTPResponse) -> None:
        """Reads what the answer is: the rest, the whole, or none of it."""
        status, url = response.status, shown(wanted.url)
        if status == 416:
            part.restart()
            raise _Again("the part that is there does not fit what the server has")
        if status in AGAIN:
            after = retry_after(response.getheader("Retry-After", ""), self._clock.wall())
            raise _Again(f"the server answered {status}", after)
        if status not in (200, 206):
            raise Refused(f"cannot fetch {url}: the server answered {status}{help_for(status, self._reader.rules.hub)}")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise Refused(f"cannot fetch {url}: the server sends it packed, so that its length cannot be checked")
        length = response.length if response.length is not None else -1
        if status == 206:
            found = _RANGE.fullmatch(response.getheader("Content-Range", ""))
            if found is None or int(found[1]) != part.offset:
                part.restart()
                raise _Again("the server sent another part than was requested")
            total = int(found[3]) if found[3] != "*" else part.offset + length if length >= 0 else -1
        else:
            total = length
            part.restart()  # the server knows no ranges, or has another content by now
        if total < 0 and not wanted.digest and not response.chunked:
            raise Refused(f"cannot fetch {url}: the server gives no length, so that its end cannot be recognised")
        if wanted.bytes >= 0 and total not in (-1, wanted.bytes):
            raise _Again(f"the server sends {total:,} bytes, and {wanted.bytes:,} are promised")
        part.begin(validator(response), max(total, wanted.bytes))

    def _read(self, wanted: WantedFile, part: FilePart, response: http.client.HTTPResponse) -> None:
        promised = part.note.bytes
        began, before = self._clock.monotonic(), part.offset
        while True:
            try:
                piece = response.read1(PIECE_BYTES)
            except (OSError, http.client.HTTPException, ValueError) as e:
                self._require_running()
                raise _Again(why(e)) from None
            if not piece:
                self._require_running()
                if promised >= 0 and part.offset < promised:
                    raise _Again(f"the connection ended after {part.offset:,} of {promised:,} bytes")
                part.note.bytes = part.offset
                return
            if part.offset + len(piece) > (promised if promised >= 0 else MAX_FILE_BYTES):
                part.restart()
                raise Refused(f"cannot fetch {shown(wanted.url)}: the server sends more than it promised")
            self._may_write(len(piece))
            part.write(piece)
            self._progress(part.offset, promised)
            self._keep_rate(began, part.offset - before)
            self._require_running()

    def _keep_rate(self, began: float, came: int) -> None:
        """Waits while more came than the rate allows."""
        if self._pace.rate_bytes:
            ahead = began + came / self._pace.rate_bytes - self._clock.monotonic()
            self._reader.stopped.wait(max(0.0, ahead))

    def _finished(self, wanted: WantedFile, part: FilePart) -> Downloaded:
        """Checks the digest and puts the file into its place. A wrong one is tried once more, from the beginning."""
        found = part.digest()
        if wanted.digest and found != wanted.digest:
            because = f"its digest is {found} and not {wanted.digest}"
            if part.wrong():
                raise Refused(f"cannot fetch {shown(wanted.url)}: {because}; nothing of it was kept")
            raise _Again(because)
        return part.finish()

    def _unchanged(self, wanted: WantedFile, note: PartNote) -> bool:
        """Whether the server still has what a complete file without a promised digest was made of."""
        if not note.validator:
            return False
        kind = "If-None-Match" if note.validator.startswith('"') else "If-Modified-Since"
        with suppress(NotAnswered), self._reader.get(wanted.url, {kind: note.validator}) as (response, _):
            return response.status == 304
        return False

    def _wait(self, because: str, failures: int, after_seconds: float) -> None:
        """Waits before another try: longer each time, never at the same moment as others."""
        seconds = pause(self._pace, failures, after_seconds)
        self._retries(because, seconds)
        self._reader.stopped.wait(seconds)
        self._require_running()

    def _require_running(self) -> None:
        if self._reader.stopped.is_set():
            raise Refused("cannot fetch: it was stopped; what came is kept, and the same command continues")


def pause(pace: Pace, failures: int, after_seconds: float) -> float:
    """Seconds before another try: longer each time, never the same as others', at least what the server requested."""
    grown = min(pace.longest_seconds, pace.pause_seconds * 2.0 ** (failures - 1))
    return min(LONGEST_PAUSE_SECONDS, max(after_seconds, grown * random.uniform(0.5, 1.0)))


def validator(response: http.client.HTTPResponse) -> str:
    """What names the content at the server: a strong ETag, else the time of its last change; "" for neither."""
    etag = response.getheader("ETag", "").strip()
    if etag.startswith('"') and etag.isprintable() and len(etag) < 500:
        return etag
    changed = response.getheader("Last-Modified", "").strip()
    return changed if changed.isprintable() and len(changed) < 100 else ""


def help_for(status: int, hub: bool) -> str:
    """What may be the matter with such an answer, of a hub or of another server."""
    if status in (401, 403) and hub:
        return "; it needs a token: HF_TOKEN for Hugging Face, MODELSCOPE_API_TOKEN for ModelScope"
    if status in (401, 403):
        return "; only some users may have it"
    return "; there is no such file" if status in (404, 410) else ""
