"""The next step of a rollout over a fleet: open a wave, wait, halt, or done, each with its reason. Pure.

A wave is judged by the machines that were seen lately. Others are late: they follow when they return, each with its own
canary. But a machine that began and was not seen since counts as one that does not serve. A share that holds nobody of
its own is passed: with ten machines 5 % are often none. Invariants: no wave opens without a success in the one before
that holds machines; missing reports never open one; after a halt only `resume` opens anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ...worker.shared.moments import moment_text
from ...worker.shared.quantities import count, percent, span
from ...worker.shared.signed_fields import MAX_SEQUENCE
from .membership import wave_of
from .record import MAX_WAVES, FleetRecord
from .reports import MAX_ATTEMPTS, MachineReport, ReceivedReport

SEEN_SECONDS: Final = 900.0
"""A machine whose last report is older was not seen lately. The clock of the keeper may differ by as much."""
MAX_NAMED: Final = 3
"""So many failures of a wave are named with their reason."""
MAX_HALTED_CHARS: Final = 4000
"""Machines choose their reasons, and a halt must not become too large to be kept."""

Standing = Literal["serving", "failed", "pending", "blocked", "silent", "late"]


class WaveProgress(Struct, frozen=True, omit_defaults=True):
    """How far a record has come: what keepers agree on. `open` is how many waves are open. `met_at` is since when the
    last one is good enough; 0: it is not. `halted` is why it halts; "": it does not. `attempt` counts the tries.
    """

    sequence: int = 0
    open: int = 0
    attempt: int = 1
    met_at: float = 0.0
    halted: str = ""
    done: bool = False


def possible(progress: WaveProgress) -> bool:
    """Whether a keeper of any release could have written it."""
    numbers = 0 <= progress.sequence <= MAX_SEQUENCE and 0 <= progress.open <= MAX_WAVES
    return numbers and 1 <= progress.attempt <= MAX_ATTEMPTS and 0 <= progress.met_at < inf


class WaveStep(Struct, frozen=True):
    """`progress` is what has to be kept; where it is what was kept already, nothing changes. `until` is when the next
    step may come by itself, wall seconds; 0: reports decide. `wave` counts from 1."""

    do: Literal["open", "wait", "halt", "done"]
    because: str
    progress: WaveProgress
    wave: int = 0
    until: float = 0.0


class WaveCount(Struct):
    """The machines of one wave that are not in an earlier one. All but `late` ones count."""

    serving: int = 0
    failed: int = 0
    pending: int = 0
    blocked: int = 0
    silent: int = 0
    late: int = 0
    failures: tuple[str, ...] = ()

    @property
    def counted(self) -> int:
        return self.serving + self.failed + self.pending + self.blocked + self.silent

    @property
    def known(self) -> int:
        return self.counted + self.late


def standing(report: MachineReport, at: float, record: FleetRecord, progress: WaveProgress, now: float) -> Standing:
    """What one machine counts as. A report about another record, or about an earlier try, is one of nothing yet."""
    seen = abs(now - at) <= SEEN_SECONDS
    current = report.sequence == record.sequence
    outcome = report.outcome if current else "waiting"
    if outcome == "failed" and report.attempt >= progress.attempt:
        return "failed"
    if outcome in ("serving", "judging"):
        if not seen:
            return "silent"
        return "serving" if outcome == "serving" else "pending"
    if not seen:
        return "late"
    return "blocked" if outcome in ("blocked", "drifted") else "pending"


def census(
    record: FleetRecord, progress: WaveProgress, reports: Iterable[ReceivedReport], now: float
) -> list[WaveCount]:
    """The machines of each wave."""
    tally = Counter[tuple[int, Standing]]()
    failures: list[list[str]] = [[] for _ in record.waves]
    for received in reports:
        report = received.report
        wave = wave_of(record.waves, report)
        if wave is None:
            continue
        found = standing(report, received.at, record, progress, now)
        tally[wave, found] += 1
        if found == "failed" and len(failures[wave]) < MAX_NAMED:
            failures[wave].append(f"{report.host or report.name}: {report.because}")
    counts = [WaveCount(failures=tuple(named)) for named in failures]
    for (wave, found), number in tally.items():
        setattr(counts[wave], found, number)
    return counts


def next_step(record: FleetRecord, progress: WaveProgress, reports: Iterable[ReceivedReport], now: float) -> WaveStep:
    """What a keeper does now. Two that do it at once come to the same, and one of them is refused when it keeps it."""
    if progress.sequence != record.sequence:
        progress = WaveProgress(record.sequence)
    if record.hold:
        return WaveStep("halt", "the record holds everything", progress)
    if progress.halted:
        return WaveStep("halt", progress.halted, progress)
    if now >= record.expires_at:
        return WaveStep("halt", f"the record ended at {record.expires}", progress)
    if progress.open == 0:
        if now < record.begins_at:
            at = record.begins_at
            return WaveStep("wait", f"the first wave opens at {moment_text(at)}", progress, 0, at)
        return _opened(record, progress, "the first wave opens without a condition")
    waves = census(record, progress, reports, now)
    counts = waves[: progress.open]
    if because := _halts(record, counts):
        return WaveStep("halt", because, stopped(progress, because), progress.open)
    if record.waves[progress.open - 1].percent and not counts[-1].known and any(each.known for each in waves):
        return _passed(record, progress, counts, now)
    return _judged(record, progress, counts[-1], now)


def _passed(record: FleetRecord, progress: WaveProgress, counts: list[WaveCount], now: float) -> WaveStep:
    """What follows a share that holds no machine that was ever seen."""
    number = progress.open
    because = f"wave {number} holds no machine of its own"
    if number == len(record.waves):
        if any(each.pending for each in counts):
            return WaveStep(
                "wait", _waits_for(record.version, number, counts[-1]), replace(progress, met_at=0.0), number
            )
        return WaveStep("done", because, replace(progress, done=True, met_at=progress.met_at or now), number)
    if now < (until := record.earliest(number)):
        return WaveStep("wait", because, progress, number, until)
    return _opened(record, progress, because)


def _halts(record: FleetRecord, counts: list[WaveCount]) -> str:
    """Why no other machine may begin: failures anywhere, or too few successes in the last wave."""
    wave, own = record.waves[len(counts) - 1], counts[-1]
    failed = sum(each.failed for each in counts)
    if failed > wave.max_errors:
        named = "; ".join(text for each in reversed(counts) for text in each.failures)
        return f"{count(failed, 'machine')} failed, at most {wave.max_errors} may: {named}"
    possible = own.counted - own.failed
    if own.failed and possible * 100 < wave.success_percent * own.counted:
        return (
            f"of {count(own.counted, 'machine')} of wave {len(counts)} {own.failed} failed, and "
            f"{percent(wave.success_percent)} must succeed: {'; '.join(own.failures)}"
        )
    return ""


def _judged(record: FleetRecord, progress: WaveProgress, own: WaveCount, now: float) -> WaveStep:
    number, wave = progress.open, record.waves[progress.open - 1]
    last = number == len(record.waves)
    short = own.serving * 100 < wave.success_percent * own.counted
    if own.serving == 0 or short or (last and own.pending):
        return WaveStep("wait", _waits_for(record.version, number, own), replace(progress, met_at=0.0), number)
    serve = _serve(record.version, number, own)
    if last:
        late = f"; {count(own.late, 'machine')} not seen lately will follow" if own.late else ""
        return WaveStep("done", f"{serve}{late}", replace(progress, done=True, met_at=progress.met_at or now), number)
    met_at = progress.met_at or now
    until = max(met_at + wave.pause, record.earliest(number))
    if now < until:
        because = f"{serve}; the pause before wave {number + 1} takes {span(until - now)} more"
        return WaveStep("wait", because, replace(progress, met_at=met_at), number, until)
    return _opened(record, progress, serve)


def _opened(record: FleetRecord, progress: WaveProgress, because: str) -> WaveStep:
    return WaveStep("open", because, replace(progress, open=progress.open + 1, met_at=0.0), progress.open + 1)


def _waits_for(version: str, number: int, own: WaveCount) -> str:
    if own.counted == 0:
        return f"no machine of wave {number} was seen lately: nothing is known, and nothing opens"
    parts = [
        f"{own.pending} on the way" if own.pending else "",
        f"{own.blocked} cannot take it" if own.blocked else "",
        f"{own.silent} not seen since they began" if own.silent else "",
        f"{own.failed} failed" if own.failed else "",
    ]
    named = ", ".join(filter(None, parts))
    return f"{_serve(version, number, own)}; {named}"


def _serve(version: str, number: int, own: WaveCount) -> str:
    machines = count(own.counted, "machine")
    if own.serving == 1:
        return f"1 of {machines} of wave {number} serves {version}"
    return f"{own.serving} of {machines} of wave {number} serve {version}"


def resumed(progress: WaveProgress) -> WaveProgress:
    """After a halt: the machines that failed try once more, no others do anything again."""
    return replace(progress, halted="", met_at=0.0, attempt=progress.attempt + 1)


def stopped(progress: WaveProgress, because: str) -> WaveProgress:
    """It halts, for this reason."""
    return replace(progress, halted=because[:MAX_HALTED_CHARS], met_at=0.0)
