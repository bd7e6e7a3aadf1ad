"""What came of a compilation: the form, its files, and what it gains in processor time, loading and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from .recipe import StepDone


class FileWritten(Struct, frozen=True):
    bytes: int
    sha256: str


class Compiled(Struct, frozen=True):
    """`form` "plain": use the version as it came, or the form there is; `because` says why, and there are no files.

    "mapped" was not rewritten. "exact" and "fast" were; that is the level at which they were proved.
    `files` are all of the form's files, relative to `out_dir`: a form is whole only while each has this size and hash.
    `gain`: seconds of audio → CPU time of the form over that of the original; 0.0 for models without audio.
    `load_seconds`: wall. `private_bytes`: memory that a process has for itself when the form is loaded.
    With `lone_threads` the form answers bit for bit what it answers with those it was compiled for; 0: not proved.
    """

    form: Literal["plain", "mapped", "exact", "fast"]
    because: str = ""
    model_file: str = ""
    files: dict[str, FileWritten] = field(default_factory=dict)
    gain: dict[float, float] = field(default_factory=dict)
    load_seconds: float = 0.0
    load_seconds_original: float = 0.0
    private_bytes: int = 0
    private_bytes_original: int = 0
    lone_threads: int = 0
    steps: Sequence[StepDone] = ()
