"""Has compressed audio decoded by the decoders that all workers share, one clip after the other into shared memory.

A slot is held until the clip is decoded or known to be long: a decoder takes new clips between two steps of long ones.
A decoder that does not answer is killed, and its clip is tried once more by a decoder of its own. It must not block the
event loop. Invariants: a slot is always given back; a decoder can no longer change samples that were handed out.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import signal
import socket
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import numpy as np

from ..audio.converter import SAMPLE_RATE
from ..audio.decode import Sound
from ..audio.limits import CODES, BadAudio
from ..scheduling.slots import NO_SLOT, Slots
from ..scheduling.threads import Lanes
from .launch import Inbox, Launcher
from .messages import (
    MOST_BYTES,
    PROTOCOL,
    Alive,
    AllDecoded,
    Bad,
    Begun,
    DecodeJob,
    DecoderFailed,
    FromDecoder,
    Long,
    decode_answer,
    encode,
)

SILENT_SECONDS: Final = 30.0  # a decoder answers at least once a second of its processor time
STARTS: Final = 3
LATER_SECONDS: Final = 30.0
LATER_BYTES: Final = 64 << 10  # for each second later
LONG_AT_ONCE: Final = 2  # of each worker in all decoders; other clips take no place there
_SAMPLE_BYTES: Final = 4
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

Claim = Callable[[float], Awaitable[None]]  # waits until there is room for so many seconds of decoded audio


class CannotDecode(Exception):
    """The clip is not at fault: there is no decoder, or no memory. The text is for the client."""


class _Lost(Exception):
    """The decoder ended during the clip; with `begun` False it never received the clip."""

    def __init__(self, begun: bool) -> None:
        super().__init__()
        self.begun = begun


class _Longer(Exception):
    """The clip is longer than was granted; it may become `seconds` long."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class _Broken(Exception):
    """A decoder behaves as none of ours does."""


class DecoderPool:
    """One worker's use of the decoders. All methods belong to the event loop.

    `directory` is where the decoders' names are, "" to share none. `slots` limits how many decode at once. `beside`
    runs what may take long.
    """

    def __init__(
        self,
        directory: str,
        slots: Slots,
        beside: Lanes,
        *,
        most_bytes: int,
        report: Callable[[str], None],
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._directory, self._slots, self._beside, self._report = directory, slots, beside, report
        self._most_bytes, self._silent_seconds = most_bytes, silent_seconds
        self._launchers: dict[int, Launcher] = {}  # by the size of clips that their decoders are for
        self._inboxes: dict[tuple[int, int], Inbox] = {}
        self._again, self._long = asyncio.Lock(), asyncio.Semaphore(LONG_AT_ONCE)
        self._reported = ""

    async def decode(self, data: bytearray, *, max_seconds: float, claim: Claim, split: bool = False) -> Sound:
        """The sound of the file in `data`, which is emptied. Like `audio.decode`, but read-only; with `split` all
        channels.

        `claim` is awaited before a clip becomes longer than a short one. Raises BadAudio, CannotDecode.
        """
        job = DecodeJob(len(data), max_seconds, split=split)
        source = await self._done(self._beside.start(lambda: _in_memory(data), _nothing))
        try:
            try:
                return await self._once(job, source)
            except _Longer as e:
                seconds = e.seconds
            while True:
                await claim(seconds)
                async with self._long:
                    try:
                        return await self._once(DecodeJob(job.bytes, max_seconds, seconds, split), source)
                    except _Longer as e:
                        if e.seconds <= seconds:
                            raise BadAudio("damaged_audio", "cannot read the audio: it has no end") from e
                        seconds = e.seconds
        finally:
            os.close(source)

    def close(self) -> None:
        """Ends the decoders that this worker started."""
        for inbox in self._inboxes.values():
            inbox.close()
        for launcher in self._launchers.values():
            launcher.close()

    def limit(self, most_bytes: int) -> None:
        """Sets another size of clips from now on. Decoders for other sizes end when they have no work."""
        self._most_bytes = most_bytes

    async def _once(self, job: DecodeJob, source: int) -> Sound:
        """Decodes with a shared decoder, or with one of its own when that is lost. Raises _Longer."""
        for _ in range(STARTS):
            try:
                return await self._shared(job, source)
            except _Lost as e:
                if e.begun:
                    return await self._by_itself(job, source)
        raise CannotDecode("cannot decode the audio: no decoder starts")

    async def _shared(self, job: DecodeJob, source: int) -> Sound:
        # Large uploads give way to small ones that come soon after: each takes a slot for a while, whatever it is. One
        # that is known to be long frees it at once.
        later = 0.0 if job.granted else min(LATER_SECONDS, job.bytes / LATER_BYTES)
        slot = await self._slots.turn(later_seconds=later)
        held = _Held(self._slots, slot)
        try:
            return await self._exchange(self._inbox(slot), job, source, held.free)
        finally:
            held.free()

    async def _by_itself(self, job: DecodeJob, source: int) -> Sound:
        """Decodes with a decoder that has no other clip, which shows whether the clip is at fault. One at a time."""
        async with self._again:
            inbox = Inbox(self._starts())
            try:
                return await self._exchange(inbox, job, source, _nothing)
            except _Lost as e:
                if not e.begun:
                    raise CannotDecode("cannot decode the audio: no decoder starts") from None
                raise BadAudio("damaged_audio", "cannot read the audio: its decoder ends while it reads it") from None
            finally:
                inbox.close()

    def _starts(self) -> Launcher:
        if self._most_bytes not in self._launchers:
            self._launchers[self._most_bytes] = Launcher(most_bytes=self._most_bytes, report=self._report)
        return self._launchers[self._most_bytes]

    def _inbox(self, slot: int) -> Inbox:
        key = slot, self._most_bytes
        if key not in self._inboxes:
            kind = zlib.crc32(f"{PROTOCOL} {self._most_bytes}".encode()) & 0xFFFFF  # a socket's path is short
            name = f"d{kind:05x}.{slot}"
            path = os.path.join(self._directory, name) if slot != NO_SLOT else ""
            self._inboxes[key] = Inbox(self._starts(), path)
        return self._inboxes[key]

    async def _exchange(self, inbox: Inbox, job: DecodeJob, source: int, no_longer_new: Callable[[], None]) -> Sound:
        """Sends the job and receives its answers to the end. `no_longer_new` is called when the decoder takes other
        clips again.
        """
        target = os.memfd_create("samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        exchange = _Exchange(ours, self._silent_seconds)
        try:
            with theirs:
                fds = (source, target, theirs.fileno())
                await self._done(self._beside.start(lambda: inbox.send(encode(job), fds), _nothing))
            while True:
                answer = await exchange.receive()
                match answer:
                    case Begun():
                        self._report_missing(answer.missing)
                        if job.granted:
                            no_longer_new()
                    case Alive():
                        pass
                    case Long():
                        raise _Longer(answer.seconds)
                    case AllDecoded():
                        return _sound(target, answer, job)
                    case Bad():
                        raise _bad(answer)
                    case DecoderFailed():
                        raise CannotDecode(f"cannot decode the audio: {answer.because}")
        except TimeoutError:
            self._report(f"a decoder is killed: it did not answer for {self._silent_seconds:g} s")
            exchange.kill()
            inbox.abandon()
            raise _Lost(exchange.begun) from None
        except _Broken as e:
            self._report(f"a decoder is killed: {e}")
            exchange.kill()
            inbox.abandon()
            raise _Lost(True) from e
        except OSError as e:
            raise CannotDecode(f"cannot decode the audio: {e.strerror or e}") from e
        finally:
            exchange.close()
            os.close(target)

    async def _done(self, running: asyncio.Future[int] | asyncio.Future[None]) -> int:
        """Waits for work that uses our descriptors: even a cancelled request closes them only after it."""
        try:
            return await asyncio.shield(running) or 0
        except asyncio.CancelledError:
            await asyncio.wait({running})
            if not running.cancelled() and running.exception() is None and (fd := running.result()) is not None:
                os.close(fd)
            raise

    def _report_missing(self, missing: str) -> None:
        if missing and missing != self._reported:
            self._report(f"decoders are less confined than they could be: {missing}")
        self._reported = missing


class _Held:
    """A slot until it is given back."""

    def __init__(self, slots: Slots, slot: int) -> None:
        self._slots, self._slot, self._has = slots, slot, True

    def free(self) -> None:
        """Gives it back, once."""
        if self._has:
            self._has = False
            self._slots.free(self._slot)


class _Exchange:
    """Our end of the connection to a decoder about one clip."""

    def __init__(self, ours: socket.socket, silent_seconds: float) -> None:
        self._ours, self._silent_seconds, self._pidfd = ours, silent_seconds, -1

    @property
    def begun(self) -> bool:
        """Whether a decoder took the clip."""
        return self._pidfd >= 0

    async def receive(self) -> FromDecoder:
        """The next answer. Raises _Lost, TimeoutError, _Broken."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._silent_seconds):
            while True:
                try:
                    data, fds, _, _ = socket.recv_fds(self._ours, MOST_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
                    break
                except BlockingIOError:
                    readable = loop.create_future()
                    loop.add_reader(self._ours, _set, readable)
                    try:
                        await readable
                    finally:
                        loop.remove_reader(self._ours)
                except OSError:
                    raise _Lost(self.begun) from None
        for fd in fds:
            if self._pidfd < 0:
                self._pidfd = fd
            else:
                os.close(fd)
        if not data:
            raise _Lost(self.begun)
        try:
            return decode_answer(data)
        except ValueError as e:
            raise _Broken(f"it sent a datagram that is no answer: {e}") from e

    def kill(self) -> None:
        """Ends the decoder."""
        if self.begun:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Makes the decoder drop the clip if it is not done."""
        self._ours.close()
        if self.begun:
            os.close(self._pidfd)


def _nothing() -> None:
    pass


def _set(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _in_memory(data: bytearray) -> int:
    """A descriptor of memory that holds the bytes; `data` is emptied. Raises OSError."""
    fd = os.memfd_create("clip", os.MFD_CLOEXEC)
    try:
        with memoryview(data) as whole:
            written = 0
            while written < len(whole):
                written += os.write(fd, whole[written:])
    except OSError:
        os.close(fd)
        raise
    data.clear()
    return fd


def _sound(target: int, answer: AllDecoded, job: DecodeJob) -> Sound:
    """The samples that the decoder wrote, which can no longer be changed. Raises _Broken when they do not match its
    answer.
    """
    count, channels = answer.samples, answer.channels
    most = (job.max_seconds + 1) * SAMPLE_RATE * channels
    fits = 0 < count <= most and count % channels == 0 and (job.split or channels == 1)
    if not fits or os.fstat(target).st_size != count * _SAMPLE_BYTES:
        raise _Broken(f"it reported {count} samples and wrote {os.fstat(target).st_size} bytes")
    try:
        fcntl.fcntl(target, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as e:
        raise _Broken("it keeps the samples writable") from e
    samples = np.frombuffer(mmap.mmap(target, count * _SAMPLE_BYTES, prot=mmap.PROT_READ), dtype=np.float32)
    return Sound(samples.reshape(-1, channels) if job.split else samples, answer.truncated)


def _bad(answer: Bad) -> BadAudio:
    code = answer.code if answer.code in CODES else "damaged_audio"
    return BadAudio(code, "".join(c if c.isprintable() else "?" for c in answer.text))
