"""What one machine does next about the wanted version: nothing, wait, or one step on the way to it. Pure.

It brings the version into the model root and requests it once. All else is as for a local version: judgement, canary,
bake, and the way back. Invariants: nothing begins before its wave is open here and the signed pauses are over. A
version is renamed in only when its digests were proved. What an operator does on this machine later is not undone. Only
the record that is followed counts, so a machine that was away passes over what came between.
"""

from __future__ import annotations

import hashlib
import zoneinfo
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ...worker.shared.moments import moment_text
from ...worker.shared.quantities import size
from ..config.cron import parse
from ..config.local_times import last_begin, next_begin
from ..units import MINUTE
from .membership import FleetMachine, wave_of
from .record import FleetRecord, WaveWindow
from .reports import Outcome
from .waves import WaveProgress

MAX_WRONG: Final = 3
"""So often a download may have other bytes than it should; then nothing more is fetched for this record."""

WRONG_SECONDS: Final = 5 * MINUTE

Do = Literal["nothing", "wait", "discard", "fetch", "verify", "rename", "activate", "judge_again"]


class LocalVersion(Struct, frozen=True):
    """The version of the wanted name that is in the model root. `same`: it has the wanted SHA256SUMS."""

    same: bool
    state: Literal["judging", "accepted", "rejected"]
    because: str = ""
    live: bool = False
    held: bool = False


class FetchedPart(Struct, frozen=True):
    """What lies in the hidden directory. `manifest_sha256` is that of the record that it was begun for; `wrong` is how
    often its bytes were not those that were promised by the record with the number `sequence`."""

    manifest_sha256: str
    sequence: int
    bytes: int = 0
    complete: bool = False
    verified: bool = False
    wrong: int = 0


class BegunRecord(Struct, frozen=True):
    """What this machine did about a record, remembered. `activated`: the version was requested here."""

    sequence: int = 0
    attempt: int = 1
    activated: bool = False


class AgentFacts(Struct, frozen=True):
    """`wanted` is the version of the wanted name, `serving` the name of what is served.

    `keep_free_bytes` must stay free. `retry_at` is when a source may be requested again, `fetch_trouble` why not
    before; `ended` why the record begins nothing any more. `followed_seconds` is for how long the record has been
    followed, by a clock that only counts. Where the wall clock is late, the time is at least so much after the record's
    issue. `held`: an operator holds the wanted version here, whether it is here or not.
    """

    machine: FleetMachine
    begun: BegunRecord = BegunRecord()
    wanted: LocalVersion | None = None
    serving: str = ""
    part: FetchedPart | None = None
    free_bytes: int = 0
    keep_free_bytes: int = 0
    fetch_trouble: str = ""
    retry_at: float = 0.0
    ended: str = ""
    followed_seconds: float = 0.0
    zone: zoneinfo.ZoneInfo | None = None
    held: bool = False


class AgentStep(Struct, frozen=True):
    """`outcome` and `because` are reported. `until`, wall seconds: by itself nothing changes before; 0: unknown.
    `begun` has to be remembered before the step is done."""

    do: Do
    outcome: Outcome
    because: str
    begun: BegunRecord
    until: float = 0.0


def plan(record: FleetRecord, progress: WaveProgress | None, facts: AgentFacts, now: float) -> AgentStep:
    """The next step. `progress` is None where there is no keeper: then waves open by time, after the signed pauses."""
    begun = facts.begun if facts.begun.sequence == record.sequence else BegunRecord(record.sequence)
    if (left := _left_over(record, facts, begun, now)) is not None:
        return left
    if facts.wanted is not None:
        return _with_version(record, progress, facts, begun, facts.wanted, now)
    if (wait := _not_yet(record, progress, facts, begun, now)) is not None:
        return wait
    if facts.held:
        return AgentStep("wait", "blocked", f"{record.version} is held on this machine", begun)
    if begun.activated:
        because = f"serves {facts.serving or 'nothing'}: {record.version} was removed from this machine"
        return AgentStep("nothing", "drifted", because, begun)
    return _without_version(record, facts, begun, now)


def _with_version(
    record: FleetRecord,
    progress: WaveProgress | None,
    facts: AgentFacts,
    begun: BegunRecord,
    version: LocalVersion,
    now: float,
) -> AgentStep:
    if not version.same:
        because = f"another version with the name {record.version} is here: remove it, or publish under another name"
        return AgentStep("wait", "blocked", because, begun)
    if version.state == "judging":
        return AgentStep("wait", "judging", f"{record.version} is judged", begun)
    if version.state == "rejected":
        attempt = progress.attempt if progress is not None and progress.sequence == record.sequence else 1
        new = facts.begun.sequence != record.sequence  # published again, or after a hold: it is tried once more
        wait = _not_yet(record, progress, facts, begun, now)
        if wait is None and (new or attempt > begun.attempt):
            again = BegunRecord(record.sequence, attempt)
            return AgentStep("judge_again", "judging", f"{record.version} is judged again", again)
        if wait is not None and new:
            return replace(wait, begun=facts.begun)  # so that it is still new when its wave opens
        return AgentStep("nothing", "failed", version.because, begun)
    if version.live:
        return AgentStep("nothing", "serving", f"serves {record.version}", begun)
    if version.held:
        return AgentStep("wait", "blocked", f"{record.version} is held on this machine", begun)
    if begun.activated:
        because = f"serves {facts.serving or 'nothing'}: somebody chose it on this machine"
        return AgentStep("nothing", "drifted", because, begun)
    if (wait := _not_yet(record, progress, facts, begun, now)) is not None:
        return wait
    if (closed := _window_closed(record, facts, begun, now)) is not None:
        return closed
    requested = BegunRecord(begun.sequence, begun.attempt, True)
    return AgentStep("activate", "judging", f"{record.version} goes live", requested)


def _not_yet(
    record: FleetRecord, progress: WaveProgress | None, facts: AgentFacts, begun: BegunRecord, now: float
) -> AgentStep | None:
    """Why nothing may begin; None when it may."""
    wave = wave_of(record.waves, facts.machine)
    if facts.ended:
        return AgentStep("nothing", "waiting", facts.ended, begun)
    if record.hold:
        return AgentStep("wait", "waiting", "the record holds everything", begun)
    if wave is None:
        return AgentStep("nothing", "waiting", "no wave of the record holds this machine", begun)
    if max(now, record.issued_at + facts.followed_seconds) < (at := record.earliest(wave)):
        return AgentStep("wait", "waiting", f"wave {wave + 1} does not open before {moment_text(at)}", begun, at)
    if progress is None:
        return None
    if progress.halted and progress.sequence == record.sequence:
        return AgentStep("wait", "waiting", f"the rollout is halted: {progress.halted}", begun)
    if progress.sequence != record.sequence or progress.open <= wave:
        return AgentStep("wait", "waiting", f"wave {wave + 1} is not open yet", begun)
    return None


def _without_version(record: FleetRecord, facts: AgentFacts, begun: BegunRecord, now: float) -> AgentStep:
    part = facts.part
    if part is not None and part.verified:
        if (closed := _window_closed(record, facts, begun, now)) is not None:
            return closed
        if _in_trouble(facts, now):
            because = f"{record.version} cannot be put into the model root: {facts.fetch_trouble}"
            return AgentStep("wait", "blocked", because, begun, facts.retry_at)
        return AgentStep("rename", "judging", f"{record.version} is put into the model root", begun)
    if part is not None and part.sequence == record.sequence and part.wrong >= MAX_WRONG:
        because = f"the source gave other bytes than were promised, {part.wrong} times: publish it again"
        return AgentStep("wait", "blocked", because, begun)
    if part is not None and part.complete:
        return AgentStep("verify", "fetching", f"the digests of {record.version} are checked", begun)
    there = part.bytes if part is not None else 0
    missing = max(0, record.bytes - there)
    if (needs := missing + facts.keep_free_bytes) > facts.free_bytes:
        because = (
            f"no room for {record.version}: {size(needs)} are needed, {size(facts.keep_free_bytes)} of them to stay "
            f"free, and there are {size(facts.free_bytes)}; `modelward disk` shows what takes it"
        )
        return AgentStep("wait", "blocked", because, begun)
    if _in_trouble(facts, now):
        because = f"the source is requested again soon: {facts.fetch_trouble}"
        return AgentStep("wait", "fetching", because, begun, facts.retry_at)
    return AgentStep("fetch", "fetching", f"{size(there)} of {size(record.bytes)} are here", begun)


def _left_over(record: FleetRecord, facts: AgentFacts, begun: BegunRecord, now: float) -> AgentStep | None:
    """Removes what was fetched and is not needed: of another version, or of one that is here. None for nothing.

    It only takes room, so that a removal that fails keeps nothing else waiting.
    """
    part = facts.part
    needed = part is not None and facts.wanted is None and part.manifest_sha256 == record.manifest_sha256
    if part is None or needed or _in_trouble(facts, now):
        return None
    return AgentStep("discard", "fetching", "what was fetched for another record is removed", begun)


def _in_trouble(facts: AgentFacts, now: float) -> bool:
    return bool(facts.fetch_trouble) and now < facts.retry_at


def _window_closed(record: FleetRecord, facts: AgentFacts, begun: BegunRecord, now: float) -> AgentStep | None:
    """A wait for the window of this machine's wave; None when it is open, or there is none."""
    wave = wave_of(record.waves, facts.machine)
    window = record.waves[wave].window if wave is not None else None
    if window is None or is_open(window, facts.zone, now):
        return None
    at = next_begin(parse(window.start), facts.zone, now) or now + 10 * MINUTE
    return AgentStep("wait", "waiting", f"{record.version} is here and waits for its window", begun, at)


def is_open(window: WaveWindow, zone: zoneinfo.ZoneInfo | None, now: float) -> bool:
    """Whether the window is open by local time."""
    began = last_begin(parse(window.start), zone, now, window.for_)
    return began is not None and now < began + window.for_


def retry_delay(machine: str, failures: int) -> float:
    """Seconds until a source or an engine is requested again: 1 to 30, doubled each time, other for each machine."""
    longest = min(30.0, 2.0 ** min(failures, 5))
    spread = (hash_of(machine, failures) % 1000) / 1000
    return max(1.0, longest * (0.5 + spread / 2))


def wrong_delay(machine: str, failures: int) -> float:
    """Seconds until bytes are requested again that were wrong, 150 to 300: a mirror may be a little behind."""
    return WRONG_SECONDS * (0.5 + retry_delay(machine, 5 + failures) / 60.0)


def poll_delay(machine: str, poll_seconds: float, number: int) -> float:
    """Seconds until the record is read again: 0.9 to 1.1 of `poll_seconds`, other for each machine and each time."""
    return poll_seconds * (0.9 + (hash_of(machine, number) % 1000) / 5000)


def hash_of(machine: str, number: int) -> int:
    """The same for the same two; spread evenly."""
    return int.from_bytes(hashlib.sha256(f"{machine}\n{number}".encode(errors="replace")).digest()[:4], "big")
