"""Finds the files for `modelward transcribe` from its arguments: files, directories of audio, standard
input.

It reads names and kinds, and opens nothing. A directory is walked in the order of names; links to other directories are
not followed. Invariant: at most MOST_FILES are found, and no two write to the same place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import BadUsage, Refused
from .render import clean

STDIN: Final = "-"
MOST_FILES: Final = 10_000
SUFFIXES: Final = frozenset(
    f".{name}"
    for name in (
        *(
            "wav",
            "flac",
            "ogg",
            "oga",
            "opus",
            "mp3",
            "webm",
            "weba",
            "aif",
            "aiff",
            "aifc",
            "au",
            "caf",
            "w64",
            "rf64",
        ),
        *("m4a", "mp4", "aac", "mov", "3gp", "amr", "wma", "mka", "mkv"),
    )
)


class AudioFile(NamedTuple):
    """A file to send: its path, STDIN for standard input, and what it is called below an output directory."""

    path: str
    place: Path


def find_files(names: Sequence[str]) -> list[AudioFile]:
    """Raises Refused for a directory without audio, BadUsage for standard input that is given twice."""
    if list(names).count(STDIN) > 1:
        raise BadUsage("cannot read standard input twice: one - is enough")
    found: list[AudioFile] = []
    for name in names:
        below = list(_below(name)) if name != STDIN and os.path.isdir(name) else [_single(name)]
        if not below:
            raise Refused(f"cannot transcribe {clean(name)}: there is no audio in it")
        found += below
        if len(found) > MOST_FILES:
            raise Refused(f"cannot transcribe so much at once: more than {MOST_FILES} files")
    return found


def output_paths(directory: str, files: Sequence[AudioFile], suffix: str) -> list[Path]:
    """Where each text goes below a directory. Raises BadUsage when two would go to the same file."""
    paths = [Path(directory) / file.place.with_suffix(suffix) for file in files]
    seen: dict[Path, AudioFile] = {}
    for path, file in zip(paths, files, strict=True):
        if path in seen:
            raise BadUsage(
                f"cannot write the texts of {clean(seen[path].path)} and {clean(file.path)} to one file: {clean(path)}"
            )
        seen[path] = file
    return paths


def _single(name: str) -> AudioFile:
    return AudioFile(name, Path("stdin" if name == STDIN else Path(name).name or "audio"))


def _below(directory: str) -> Iterator[AudioFile]:
    count = 0
    for place, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in SUFFIXES and count <= MOST_FILES:
                count += 1
                path = os.path.join(place, name)
                yield AudioFile(path, Path(os.path.relpath(path, directory)))
