"""Decodes clips in small steps: new ones first, until they are known to be long; then all long ones in turn.

It runs in a process of its own, after `confinement`. It opens nothing: what it reads and writes was handed to it. The
kernel limits each step, and each clip has a limit by its length. Where processors are short, long clips pause between
steps. Invariants: a short clip waits for at most one step of a long one. When the worker of a clip no longer waits for
it, the clip is dropped before its next step.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ..audio import decode, media
from ..audio.converter import SAMPLE_RATE
from ..audio.kinds import AudioKind
from ..audio.limits import AudioLimits, BadAudio, ClipNotes, Floats
from ..scheduling.pauses import pause_seconds
from .confinement import LIFE_CPU_SECONDS, limit_step
from .messages import (
    MOST_BYTES,
    TEXT_CHARS,
    Alive,
    AllDecoded,
    Bad,
    Begun,
    DecodeJob,
    DecoderFailed,
    FromDecoder,
    Long,
    decode_job,
    encode,
)

IDLE_SECONDS: Final = 20.0
OPEN_JOBS: Final = 32
SHORT_CPU_SECONDS: Final = 0.1
SHORT_CPU_SECONDS_OF_LARGE: Final = 0.02  # most of these are long, and others wait meanwhile
SHORT_SECONDS: Final = 60
ALIVE_SECONDS: Final = 1.0
SMALL_BYTES: Final = 1 << 20  # begun at once, whatever else is open
BASE_CPU_SECONDS: Final = 10.0
CPU_SECONDS_PER_SECOND: Final = 0.05  # for audio; Opus, the most expensive one, takes 0.002 to 0.004


class DecodingClip:
    """A job that is being decoded. It may become `granted` seconds long."""

    def __init__(self, job: DecodeJob, source: int, target: int, answers: socket.socket) -> None:
        self.job, self.source, self.target, self.answers = job, source, target, answers
        self.granted = max(job.granted, float(SHORT_SECONDS))
        self.notes = ClipNotes()
        self.channels = 1
        self.long = job.granted > 0
        self.short_seconds = SHORT_CPU_SECONDS if job.bytes <= SMALL_BYTES else SHORT_CPU_SECONDS_OF_LARGE
        self.cpu_seconds = 0.0
        self.samples = 0
        self.sent_at = time.monotonic()
        self.blocks: Iterator[Floats] | None = None

    def begin(self) -> None:
        """Reads the bytes into the memory of this process."""
        data = os.pread(self.source, self.job.bytes, 0)
        self.blocks = decode.blocks(data, max_seconds=self.job.max_seconds, notes=self.notes, split=self.job.split)

    def send(self, message: FromDecoder, *descriptors: int) -> None:
        """Sends a message. Raises OSError when the worker does not listen any more."""
        self.sent_at = time.monotonic()
        socket.send_fds(self.answers, [encode(message)], descriptors)

    def close(self) -> None:
        os.close(self.source)
        os.close(self.target)
        self.answers.close()


def refusal(error: Exception, *, begun: bool, alone: bool) -> Bad | DecoderFailed:
    """The answer for a clip that caused this error.

    `begun`: its bytes were read. `alone`: the decoder held no other clip. Bytes on which a library fails are the
    client's fault: they would fail in the next decoder too, and a job would never end.
    """
    if isinstance(error, BadAudio):
        return Bad(error.code, str(error)[:TEXT_CHARS])
    if isinstance(error, MemoryError) and not alone:
        return DecoderFailed("it needs more memory than a decoder may use")
    if isinstance(error, OSError) and not begun:
        return DecoderFailed(f"{type(error).__name__}: {error}"[:TEXT_CHARS])
    return Bad("damaged_audio", f"cannot read the audio: it fails its decoder ({type(error).__name__})")


class DecoderLoop:
    """The loop of a decoder. `most_bytes` is the limit for the compressed bytes of all long clips together.

    The sockets must be non-blocking: the workers set that, because this process has no right to.
    """

    def __init__(self, inbox: socket.socket, *, most_bytes: int, missing: str, pidfd: int) -> None:
        self._inbox, self._most_bytes, self._missing, self._pidfd = inbox, most_bytes, missing[:TEXT_CHARS], pidfd
        self._clips: dict[int, DecodingClip] = {}  # by the descriptor of their answers
        self._pause = 0.0  # before the next step of a long clip

    def run(self) -> None:
        """Returns when it was idle for IDLE_SECONDS, or when its processor time is used up and no clip is left."""
        while True:
            clip = self._next()
            if not self._clips and time.process_time() > LIFE_CPU_SECONDS:
                return
            received = self._receive(IDLE_SECONDS if clip is None else self._pause if clip.long else 0.0)
            if clip is None and not received and not self._clips:
                return
            if received:
                clip = self._next()  # the clip that just came may be shorter
            if clip is not None:
                self._step(clip)

    def _next(self) -> DecodingClip | None:
        """The first clip that is not known to be long; otherwise the long clip that had the least processor time."""
        ready = [clip for clip in self._clips.values() if clip.blocks or self._room(clip)]
        fresh = [clip for clip in ready if not clip.long]
        if fresh:
            return fresh[0]
        return min(ready, key=lambda clip: clip.cpu_seconds, default=None)

    def _room(self, clip: DecodingClip) -> bool:
        begun = sum(other.job.bytes for other in self._clips.values() if other.blocks is not None)
        return begun == 0 or clip.job.bytes <= SMALL_BYTES or begun + clip.job.bytes <= self._most_bytes

    # receiving

    def _receive(self, seconds: float) -> bool:
        """Takes the jobs that came in, and waits for them up to this time; returns whether there were any."""
        poll = select.poll()
        if len(self._clips) < OPEN_JOBS:
            poll.register(self._inbox, select.POLLIN)
        for descriptor in self._clips:
            poll.register(descriptor, select.POLLIN)
        found = poll.poll(seconds * 1000)
        for descriptor, _ in found:
            if descriptor == self._inbox.fileno():
                self._take()
            elif (clip := self._clips.get(descriptor)) is not None:
                self._answered(clip)
        return bool(found)

    def _take(self) -> None:
        descriptors: list[int] = []
        try:
            data, descriptors, _, _ = socket.recv_fds(self._inbox, MOST_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
            job = decode_job(data)
            source, target, answers = descriptors
        except (OSError, ValueError):
            for descriptor in descriptors:
                os.close(descriptor)
            return
        clip = DecodingClip(
            job, source, target, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=answers)
        )
        self._clips[answers] = clip
        self._send(clip, Begun(self._missing), self._pidfd)

    def _answered(self, clip: DecodingClip) -> None:
        """Reads from a worker. It sends nothing about a clip except the end: it no longer waits for it."""
        try:
            clip.answers.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(clip)

    # decoding

    def _step(self, clip: DecodingClip) -> None:
        limit_step()
        began, began_at = time.process_time(), time.monotonic()
        try:
            if clip.blocks is None:
                clip.begin()
                assert clip.blocks is not None
            block = next(clip.blocks, None)
        except Exception as e:  # noqa: BLE001 - the top of a child: whatever it is, it concerns this clip alone
            self._end(clip, refusal(e, begun=clip.blocks is not None, alone=len(self._clips) == 1))
        else:
            taken = time.process_time() - began
            clip.cpu_seconds += taken
            self._pause = pause_seconds(time.monotonic() - began_at, taken)
            if block is None:
                self._end(clip, AllDecoded(clip.samples, clip.channels, clip.notes.truncated))
            else:
                self._keep(clip, block)

    def _keep(self, clip: DecodingClip, block: Floats) -> None:
        try:
            left = memoryview(block.tobytes())
            while left:
                left = left[os.write(clip.target, left) :]
        except OSError as e:
            self._end(clip, DecoderFailed(f"no memory for its samples ({e.strerror})"))
            return
        clip.samples += block.size
        clip.channels = block.shape[1] if block.ndim == 2 else clip.channels
        seconds = clip.samples / SAMPLE_RATE  # of all channels one after the other
        if clip.cpu_seconds > BASE_CPU_SECONDS + CPU_SECONDS_PER_SECOND * seconds:
            text = f"cannot read the audio: {seconds:.0f} s of it took {clip.cpu_seconds:.0f} s of processor time"
            self._end(clip, Bad("damaged_audio", text))
        elif clip.samples > clip.granted * SAMPLE_RATE or not clip.long and clip.cpu_seconds > clip.short_seconds:
            # A clip that is longer than it promised may have any length.
            expected, most = clip.notes.expected_seconds * clip.channels, clip.job.max_seconds * clip.channels
            self._end(clip, Long(min(expected + 1.0, most) if expected > seconds else most))
        elif time.monotonic() - clip.sent_at > ALIVE_SECONDS:
            self._send(clip, Alive())

    # answering

    def _end(self, clip: DecodingClip, message: FromDecoder) -> None:
        self._send(clip, message)
        self._drop(clip)

    def _send(self, clip: DecodingClip, message: FromDecoder, *descriptors: int) -> None:
        try:
            clip.send(message, *descriptors)
        except OSError:  # the worker does not wait for it any more
            self._drop(clip)

    def _drop(self, clip: DecodingClip) -> None:
        if self._clips.pop(clip.answers.fileno(), None) is not None:
            clip.close()


def warm() -> None:
    """Decodes something short without a file, so that nothing has to be loaded later."""
    head = b".snd" + b"".join(n.to_bytes(4, "big") for n in (24, 1600, 3, 8000, 1))
    with suppress(BadAudio):
        decode.decode(head + bytes(1600), max_seconds=60)
    if media.available():
        limits = AudioLimits(len(head), 60, ClipNotes())
        with suppress(BadAudio):
            deque(media.blocks(head + bytes(1600), AudioKind("media", "AU", "au"), limits, False), maxlen=0)
