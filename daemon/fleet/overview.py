"""A fleet as people see it: how many machines serve what, wave by wave, and which ones need a look, with the reason.

Pure. It counts as `waves` does and decides nothing. Lists are bounded: a fleet may have a hundred thousand machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ...worker.shared.quantities import span
from .membership import wave_of
from .record import FleetRecord
from .reports import ReceivedReport
from .waves import SEEN_SECONDS, Standing, WaveCount, WaveProgress, census, standing

MAX_LISTED: Final = 200
_ORDER: Final[tuple[Standing, ...]] = ("failed", "silent", "blocked", "late", "pending")
"""What needs a look first."""


class ListedMachine(Struct, frozen=True):
    """A machine that does not serve the wanted version. `wave` counts from 1; 0: it is in none."""

    name: str
    host: str
    wave: int
    standing: Standing
    serving: str
    because: str
    seen_seconds: float


class FleetOverview(Struct, frozen=True):
    """`versions` is how many machines serve each version, most first; "" is none. `machines` are MAX_LISTED at most,
    `more` how many others do not serve the wanted version. `empty` are the waves, from 1, in which no machine is."""

    total: int
    seen: int
    versions: dict[str, int]
    waves: list[WaveCount]
    empty: tuple[int, ...]
    drifted: int
    machines: list[ListedMachine]
    more: int = 0


def overview(
    record: FleetRecord, progress: WaveProgress, reports: Iterable[ReceivedReport], now: float
) -> FleetOverview:
    """The fleet now. `progress` may be that of another record: then nothing counts as failed or tried yet."""
    known = list(reports)
    versions = Counter(received.report.version for received in known)
    counts = census(record, progress, known, now)
    found: dict[Standing, list[ListedMachine]] = {each: [] for each in _ORDER}
    for received in known:
        report = received.report
        stands = standing(report, received.at, record, progress, now)
        if stands == "serving":
            continue
        wave = wave_of(record.waves, report)
        listed = found[stands]
        if len(listed) < MAX_LISTED:
            seen = max(0.0, now - received.at)
            because = report.because or (f"not seen for {span(seen)}" if seen > SEEN_SECONDS else report.outcome)
            number = 0 if wave is None else wave + 1
            listed.append(ListedMachine(report.name, report.host, number, stands, report.version, because, seen))
    serving = sum(standing(r.report, r.at, record, progress, now) == "serving" for r in known)
    listed = [machine for stands in _ORDER for machine in sorted(found[stands], key=lambda m: m.name)][:MAX_LISTED]
    return FleetOverview(
        total=len(known),
        seen=sum(abs(now - received.at) <= SEEN_SECONDS for received in known),
        versions=dict(versions.most_common(50)),
        waves=counts,
        empty=tuple(number for number, each in enumerate(counts, 1) if each.counted + each.late == 0),
        drifted=sum(received.report.outcome == "drifted" for received in known),
        machines=listed,
        more=len(known) - serving - len(listed),
    )
