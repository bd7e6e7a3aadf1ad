"""Reads what a probe sends: a clip, its known text and the service's token.

It reads disks that may hang, so it is for a thread. Invariant: sizes are limited, and only regular files are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ...worker.shared.token_file import tokens_in
from ..system.safe_read import open_regular
from .probe_record import ProbeJob

MAX_CLIP_BYTES: Final = 4 << 20
MAX_TEXT_BYTES: Final = 16 << 10
MAX_LISTED: Final = 1000


class ProbeClip(NamedTuple):
    """The clip that is sent, its text, and the token that is sent with it, "" for none."""

    name: str
    data: bytes
    text: str
    token: str


def read_clip(job: ProbeJob) -> ProbeClip | None:
    """The configured clip; else the smallest of the first directory that has any. Raises OSError, BadTokenFile,
    UnicodeDecodeError.
    """
    token = tokens_in(_read(Path(job.token_file), MAX_TEXT_BYTES * 4))[0] if job.token_file else ""
    if job.clip:
        path = Path(job.clip)
        return ProbeClip(path.name, _read(path, MAX_CLIP_BYTES), job.text or _text(path.with_suffix(".txt")), token)
    for directory in job.directories:
        found = sorted(_pairs(Path(directory)), key=lambda pair: (pair[0], pair[1]))
        if found:
            path = found[0][1]
            return ProbeClip(path.name, _read(path, MAX_CLIP_BYTES), _text(path.with_suffix(".txt")), token)
    return None


def _pairs(directory: Path) -> Iterator[tuple[int, Path]]:
    """Sizes and paths of the clips that have a text."""
    try:
        listed = [path for path, _ in zip(directory.iterdir(), range(MAX_LISTED), strict=False)]
    except OSError:
        return
    for path in listed:
        if path.suffix == ".wav" and path.with_suffix(".txt").is_file():
            size = path.stat().st_size
            if size <= MAX_CLIP_BYTES:
                yield size, path


def _text(path: Path) -> str:
    return _read(path, MAX_TEXT_BYTES).decode("utf-8-sig").strip()


def _read(path: Path, most: int) -> bytes:
    with open_regular(path) as file:
        data: bytes = file.read(most + 1)
    if len(data) > most:
        raise OSError(0, f"{path.name} is larger than {most} bytes")
    return data
