"""What a publisher writes: waves from the words of a command, the record for a version, and its number. Pure.

Reports of machines prove nothing: one stolen machine may report any number. They are shown, and never counted on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ...worker.shared.moments import moment_text
from ..units import describe
from .manifest import Manifest
from .record import FORMAT, MAX_VALID_SECONDS, BadRecord, FleetRecord, FleetWave, WaveWindow
from .reports import MachineReport

RIGHT: Final = 'shares and labels in order, like "canary,5%,25%,100%"'


def waves(
    text: str, *, success_percent: float, max_errors: int, pause_seconds: float, window: WaveWindow | None = None
) -> tuple[FleetWave, ...]:
    """The waves of "canary,5%,25%,100%": a share of all machines, or those with a label; several labels of one wave
    are joined by +. The same conditions hold for each. Raises BadRecord."""
    made = list[FleetWave]()
    for word in (word.strip() for word in text.split(",")):
        labels, percent = tuple[str, ...](), 0.0
        if word.endswith("%"):
            try:
                percent = float(word[:-1])
            except ValueError:
                raise BadRecord(f"{describe(word)} is no wave; {RIGHT}") from None
        else:
            labels = tuple(word.split("+"))
        made.append(FleetWave(labels, percent, success_percent, max_errors, round(pause_seconds), window))
    return tuple(made)


def end_of(now: float, valid_seconds: float) -> str:
    """When a record ends that is valid for so long from now on. Raises BadRecord."""
    if valid_seconds > MAX_VALID_SECONDS:
        raise BadRecord("the record cannot be used: expires is more than ten years after issued")
    return moment_text(now + valid_seconds)


def drafted(
    version: str,
    manifest: Manifest,
    *,
    sequence: int,
    now: float,
    valid_seconds: float,
    sources: Iterable[str],
    waves: tuple[FleetWave, ...],
    not_before: str = "",
    hold: bool = False,
) -> FleetRecord:
    """The record that wants a version from now on; `signature.sign_record` checks it. Raises BadRecord."""
    return FleetRecord(
        FORMAT,
        sequence,
        moment_text(now),
        end_of(now, valid_seconds),
        version,
        manifest.sha256,
        manifest.bytes,
        tuple(sources),
        waves,
        not_before,
        hold,
        manifest.signature_sha256,
    )


def next_number(last: int, wanted: int) -> int:
    """The number of the next record after `last`, 0 for none; `wanted` is what the publisher gave, or 0.

    Raises BadRecord.
    """
    if wanted and wanted <= last:
        raise BadRecord(f"record {last} is there, and machines refuse number {wanted}: leave --sequence out")
    return wanted or last + 1


def followed_above(number: int, reports: Sequence[MachineReport]) -> list[MachineReport]:
    """The machines that report that they follow a higher number, so that they refuse this one; the highest last."""
    return sorted((each for each in reports if each.sequence >= number), key=lambda each: each.sequence)


def former(records: Sequence[FleetRecord], version: str = "") -> FleetRecord:
    """The record to go back to, of those that were published, the oldest first and the present one last.

    It is the last one that wanted `version`, or else the last one that wanted another version than the present one.
    Once the fleet is on its way back, only a named version leads further: the same command twice must not bring a bad
    version to all machines. Raises BadRecord.
    """
    *earlier, present = records
    if version:
        found = next((each for each in reversed(earlier) if each.version == version), None)
        if found is None or version == present.version:
            raise BadRecord(f"no earlier record wants {describe(version)}, or the present one wants it")
        return found
    others = [number for number, each in enumerate(earlier) if each.version != present.version]
    if not others:
        raise BadRecord(f"there is no record before the one that wants {describe(present.version)}")
    if any(each.version == present.version for each in earlier[: others[-1]]):
        raise BadRecord(
            f"{describe(present.version)} was wanted before {describe(earlier[others[-1]].version)} and is wanted "
            "again: the fleet goes back to it already; to go elsewhere, name the version: modelward fleet back VERSION"
        )
    return earlier[others[-1]]
