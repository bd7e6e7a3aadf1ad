"""The finished pieces of a job, one line each, so that a worker that dies loses only the current piece.

The first line is the plan: where the recording is cut. Each further line is one piece, in the order of the plan. It
belongs to one worker at a time, which holds the job's lock, and to a thread. Invariant: an incomplete line does not
count, and is cut off before another is written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from ..sensevoice.frontend import SAMPLE_RATE
from ..sensevoice.transcript import Piece, join_texts
from ..shared.job_records import JobProgress, JobVersion, merged
from ..shared.unreadable import UNREADABLE

MAX_BYTES: Final = 256 << 20
MAX_SAMPLES: Final = 2**53
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
Span = tuple[int, ...]


class Plan(msgspec.Struct, frozen=True, tag=True):
    """The number of samples, and the pieces as (first sample, sample after the last), with the channel where they are
    split.
    """

    samples: int
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        """Raises ValueError, also while one is read: a damaged plan is no line of ours."""
        if not 0 <= self.samples <= MAX_SAMPLES:
            raise ValueError("its number of samples cannot be")
        if not all(len(span) in (2, 3) and 0 <= span[0] <= span[1] <= MAX_SAMPLES for span in self.spans):
            raise ValueError("one of its pieces cannot be")


class PieceDone(msgspec.Struct, frozen=True, tag=True):
    """The text of one piece, and the version that recognised it."""

    version: str
    digest: str
    piece: Piece


class PiecesDone(msgspec.Struct, frozen=True):
    """The content of a file of pieces; `whole_bytes` are those of its whole lines."""

    plan: Plan | None = None
    pieces: tuple[PieceDone, ...] = ()
    whole_bytes: int = 0

    @property
    def placed(self) -> list[tuple[Span, Piece]]:
        """Each finished piece with its place."""
        spans = self.plan.spans if self.plan is not None else ()
        return [(span, done.piece) for span, done in zip(spans, self.pieces, strict=False)]

    def versions(self) -> tuple[JobVersion, ...]:
        """Which version recognised which part."""
        spans = self.plan.spans if self.plan is not None else ()
        return merged(
            [
                JobVersion(done.version, done.digest, _seconds(span[0]), _seconds(span[1]))
                for span, done in zip(spans, self.pieces, strict=False)
            ]
        )

    def progress(self) -> JobProgress:
        """How far the job is."""
        if self.plan is None:
            return JobProgress()
        text = ""
        for _, piece in self.placed:
            text = join_texts(text, piece.text)
        count = len(self.pieces)
        # Silence between pieces is no work: after the last piece all is done.
        at = self.plan.samples if count >= len(self.plan.spans) else self.plan.spans[count][0]
        return JobProgress(_seconds(self.plan.samples), _seconds(at), text, self.versions())


_line: msgspec.json.Decoder[Plan | PieceDone] = msgspec.json.Decoder(Plan | PieceDone)


def read_pieces(path: Path) -> PiecesDone:
    """The content of a file; nothing where there is none. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return PiecesDone()
    with open(fd, "rb") as file:
        return parse_pieces(file.read(MAX_BYTES))


def parse_pieces(data: bytes) -> PiecesDone:
    """The same from a file's bytes: everything before the first incomplete line. Pure."""
    plan: Plan | None = None
    pieces: list[PieceDone] = []
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        try:
            entry = _line.decode(data[at:end])
        except UNREADABLE:
            break
        if plan is None and isinstance(entry, Plan):
            plan = entry
        elif plan is not None and isinstance(entry, PieceDone) and len(pieces) < len(plan.spans):
            pieces.append(entry)
        else:
            break
        at = end + 1
    return PiecesDone(plan, tuple(pieces), at)


def append_line(path: Path, entry: Plan | PieceDone, at_bytes: int) -> int:
    """Writes one more line after `at_bytes`, durably; returns the new length in bytes. Raises OSError."""
    line = msgspec.json.encode(entry) + b"\n"
    fd = os.open(path, _OPEN, 0o600)
    try:
        os.ftruncate(fd, at_bytes)
        written = 0
        while written < len(line):
            written += os.pwrite(fd, line[written:], at_bytes + written)
        os.fsync(fd)
    finally:
        os.close(fd)
    return at_bytes + len(line)


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)
