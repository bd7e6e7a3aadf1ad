"""Measures how much of its time limit a process has used, from readings of what it did. Pure.

CPU time counts, and time without progress. Waiting for a processor, or for a disk that delivers data, does not count: a
slow or busy machine uses up nothing of a limit. Invariant: an endless loop, a hang and a stopped process each reach any
limit; a process that only waits for its turn does not.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

USUAL_BYTES: Final = 500 << 20
"""Up to this size a version has the configured limit; a larger one has more in proportion."""
_RAN_SHARE: Final = 0.01
_WAITED_SHARE: Final = 0.1
"""With less of the time between two readings the process does nothing; this is noise."""
_OUTSIDE: Final = {"D": "it waits for a disk", "T": "it is stopped by a signal", "t": "it is stopped by a debugger"}


class ProcessReading(Struct, frozen=True):
    """What a process did since it began. `at` is monotonic seconds.

    `cpu_seconds` is of all threads. `waited_seconds` is time in which threads could run and had no processor.
    `disk_bytes` went from and to disks. `faults` are pages that were read from a disk. `state` is R when any thread
    runs or could run, else that of the main thread (proc_pid_stat(5)).
    """

    at: float
    cpu_seconds: float
    waited_seconds: float = 0.0
    disk_bytes: int = 0
    faults: int = 0
    state: str = "S"


class Spent(Struct, frozen=True):
    """What a process has used from `first` to `last`; `still_seconds` since it last made progress."""

    first: ProcessReading
    last: ProcessReading
    still_seconds: float = 0.0

    @property
    def cpu_seconds(self) -> float:
        return self.last.cpu_seconds - self.first.cpu_seconds

    @property
    def seconds(self) -> float:
        """The seconds that count against a limit."""
        return max(self.cpu_seconds, self.still_seconds)


class Allowance(Struct, frozen=True):
    """`still_seconds` without progress, `cpu_seconds` of all threads; 0: no limit."""

    still_seconds: float = 0.0
    cpu_seconds: float = 0.0


class LimitReached(Struct, frozen=True):
    """A limit is reached. `own`: because of the process itself; otherwise something outside holds it up."""

    because: str
    own: bool


def begin(reading: ProcessReading) -> Spent:
    """The start, with nothing used."""
    return Spent(reading, reading)


def after(spent: Spent, reading: ProcessReading, longest_step_seconds: float) -> Spent:
    """The sum after another reading. A step counts at most `longest_step_seconds`.

    The reading process may have been stopped itself, or had no processor.
    """
    if moved(spent.last, reading):
        return replace(spent, last=reading, still_seconds=0.0)
    step = min(reading.at - spent.last.at, longest_step_seconds)
    return replace(spent, last=reading, still_seconds=spent.still_seconds + max(0.0, step))


def moved(before: ProcessReading, now: ProcessReading) -> bool:
    """Whether the process made progress between two readings, or waited for a processor."""
    seconds = max(1e-6, now.at - before.at)
    return (
        now.state == "R"
        or now.cpu_seconds - before.cpu_seconds >= _RAN_SHARE * seconds
        or now.waited_seconds - before.waited_seconds >= _WAITED_SHARE * seconds
        or now.disk_bytes > before.disk_bytes
        or now.faults > before.faults
    )


def outside(reading: ProcessReading) -> str:
    """What outside the process holds it up, "" for nothing."""
    return _OUTSIDE.get(reading.state, "")


def starved(before: ProcessReading, now: ProcessReading) -> bool:
    """Whether the process wanted to run between two readings and mostly had no processor."""
    seconds = max(1e-6, now.at - before.at)
    ran, waited = now.cpu_seconds - before.cpu_seconds, now.waited_seconds - before.waited_seconds
    return ran < seconds / 2 and (waited >= seconds / 2 or now.state == "R")


def over(spent: Spent, allowance: Allowance) -> LimitReached | None:
    """The limit that is reached, if one is."""
    if 0 < allowance.cpu_seconds <= spent.cpu_seconds:
        return LimitReached(f"it used the {allowance.cpu_seconds:.3g} s of CPU time allowed", own=True)
    if 0 < allowance.still_seconds <= spent.still_seconds:
        held = outside(spent.last)
        stood = f"it made no progress for {allowance.still_seconds:.3g} s"
        return LimitReached(f"{stood}: {held}" if held else stood, own=not held)
    return None


def scale(size_bytes: int, slowness: float = 1.0) -> float:
    """The factor on the configured limit for a version of this size on a machine `slowness` times as slow as usual."""
    return max(1.0, size_bytes / USUAL_BYTES) * max(1.0, slowness)
