"""Decides whether a compiler runs, is paused or is ended, from figures of the machine and the compiler. Pure.

The time of a compiler is its processor time: on a busy machine it may take hours by the clock, and that is normal. It
counts as still only when it neither uses the processor nor waits for it for long. Invariant: requests and memory go
first; a compiler that a version waits for is not paused for load.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ..units import size

CPU_TIMES: Final = 15.0
"""A compiler may use so many times `validation.timeout` of processor time, for each thread of a run."""
CPU_JUDGED_TIMES: Final = 60.0
"""And at least so many times what judging took: a limit that grows with model and machine."""
PAUSE_AT: Final = 0.75
"""Share of the processors that the workers use, above which a compiler is paused."""
RESUME_AT: Final = 0.60
MEMORY_PRESSURE: Final = 20.0
"""Percent of the last ten seconds in which something waited for memory (PSI, some avg10)."""


class CompilerLimits(Struct, frozen=True):
    """Seconds. `cpu_seconds`: its processor time (0: no limit). `short_seconds`: how long memory may be short before it
    is ended. `still_seconds`: how long it may be still. `reserve_bytes`: memory that stays free for others.
    """

    cpu_seconds: float = 0.0
    short_seconds: float = 30.0
    still_seconds: float = 120.0
    reserve_bytes: int = 256 << 20


class CompilerSample(Struct, frozen=True):
    """One measurement, monotonic seconds. `busy`: the share of the processors that the workers used since the last one.

    `available_bytes`, `pressure`: None where the system does not report them. `cpu_seconds`: of the compiler until now.
    `eager`: it runs, or waits for a processor or the disk. `lines`: its messages until now.
    """

    now: float
    busy: float
    available_bytes: int | None
    pressure: float | None
    cpu_seconds: float
    eager: bool
    lines: int


class CompilerPace(Struct, frozen=True):
    """The decision and its memory. `because` is "" while the compiler runs."""

    state: Literal["running", "paused", "given up"] = "running"
    because: str = ""
    short_since: float | None = None
    alive_at: float | None = None
    cpu_seconds: float = 0.0
    lines: int = 0


def limits_for(timeout_seconds: float, threads: int, judged_seconds: float) -> CompilerLimits:
    """The limits of a compiler; without a limit of processor time where the validator has none (timeout 0)."""
    seconds = max(CPU_TIMES * timeout_seconds, CPU_JUDGED_TIMES * judged_seconds)
    return CompilerLimits(cpu_seconds=max(1, threads) * seconds if timeout_seconds > 0 else 0.0)


def stands_aside(used: int, slots: int) -> bool:
    """Whether a compiler stops now for requests: half of the workers' `slots` are `used`, or one of up to three.

    The lowest priority is not enough where two processors share a core: what runs on one slows the other down.
    """
    return used >= max(1, slots // 2)


def step(before: CompilerPace, sample: CompilerSample, limits: CompilerLimits, *, urgent: bool) -> CompilerPace:
    """The next decision."""
    if limits.cpu_seconds and sample.cpu_seconds > limits.cpu_seconds:
        return replace(before, state="given up", because=f"it used its {limits.cpu_seconds:.0f} s of processor time")
    active = sample.eager or sample.lines > before.lines or sample.cpu_seconds > before.cpu_seconds
    alive = sample.now if active or before.state != "running" or before.alive_at is None else before.alive_at
    known = replace(before, alive_at=alive, cpu_seconds=sample.cpu_seconds, lines=sample.lines)
    if sample.now - alive >= limits.still_seconds:
        return replace(known, state="given up", because=f"it stood still for {limits.still_seconds:.0f} s")
    if short := _memory(sample, limits):
        since = sample.now if before.short_since is None else before.short_since
        if sample.now - since >= limits.short_seconds:
            return replace(known, state="given up", because=short, short_since=since)
        return replace(known, state="paused", because=short, short_since=since)
    known = replace(known, short_since=None)
    most = RESUME_AT if before.state == "paused" else PAUSE_AT
    if not urgent and sample.busy > most:
        return replace(known, state="paused", because=f"the workers use {sample.busy:.0%} of the processors")
    return replace(known, state="running", because="")


def _memory(sample: CompilerSample, limits: CompilerLimits) -> str:
    available = sample.available_bytes
    if available is not None and available < limits.reserve_bytes:
        return f"memory is short: {size(available)} are available"
    if sample.pressure is not None and sample.pressure >= MEMORY_PRESSURE:
        return f"memory is short: {sample.pressure:.0f} % of the time something waits for it"
    return ""
