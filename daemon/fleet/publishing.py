"""What a publisher writes: waves from the words of a command, and the record for a version. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...worker.shared.moments import moment_text
from ..units import describe
from .record import FORMAT, MAX_VALID_SECONDS, BadRecord, FleetRecord, FleetWave, WaveWindow

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
    manifest_sha256: str,
    size_bytes: int,
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
        manifest_sha256,
        size_bytes,
        tuple(sources),
        waves,
        not_before,
        hold,
    )
