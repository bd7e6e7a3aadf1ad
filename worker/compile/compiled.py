"""The result of a compilation: the form, its files, and how much processor time, loading time and memory it saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from .recipe import StepDone


class FileWritten(Struct, frozen=True):
    bytes: int
    sha256: str


class Compiled(Struct, frozen=True):
    """See the module.

    `form` is "plain", "mapped", "exact" or "fast". "plain": use the version as it came, or an existing form; `because`
    gives the reason, and there are no files. "mapped" was not rewritten. "exact" and "fast" were; that is the level at
    which they were proved. `files` are all files of the form, relative to `out_dir`: a form is whole only while each
    has this size and hash. `gain` maps seconds of audio to the CPU time of the form divided by that of the original;
    0.0 for models without audio. `load_seconds` is wall time. `private_bytes` is the private memory of a process with
    the form loaded. With `lone_threads` threads the form gives the same bits as with those it was compiled for; 0: not
    proved.
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
