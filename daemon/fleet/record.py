"""The record of a fleet: which version is wanted, from when, and in which waves. Pure.

It is canonical JSON: sorted keys, no spaces, no key twice, so that the same content is the same bytes. A field that is
not known here is refused, because it may forbid something. `format` rises with each new field. A machine that is older
than the record keeps what it serves. Invariant: a record that was read is within every limit.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct, field

from ...worker.shared.moments import moment
from ...worker.shared.quantities import size
from ...worker.shared.signed_fields import MAX_SEQUENCE
from ...worker.shared.unreadable import UNREADABLE
from ..config.cron import parse
from ..config.fleet_checks import LABEL, LABEL_RIGHT
from ..names import is_version_name
from ..units import DAY, MINUTE, YEAR

FORMAT: Final = 1
LINK: Final = "current"
"""What the link of nearly every machine is called: no version with this name could be put beside it."""
MAX_RECORD_BYTES: Final = 64 << 10
MAX_VERSION_BYTES: Final = 1 << 44
MAX_SOURCES, MAX_SOURCE_CHARS = 8, 1024
MAX_WAVES, MAX_LABELS = 32, 32
MAX_PAUSE_SECONDS: Final = 90 * DAY
MAX_VALID_SECONDS: Final = 10 * YEAR
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_RELATIVE: Final = re.compile(r"(?!\.{1,2}(/|$))[^/:]+(/(?!\.{1,2}(/|$))[^/:]+)*")
_OBJECT: Final = re.compile(r"object:[A-Za-z0-9._-]{1,100}(/[^/\s]{1,255}){0,3}", re.ASCII)
_HTTPS: Final = re.compile(r"https://[^\s/?#@]{1,253}(/[^\s?#]*)?", re.ASCII)


class BadRecord(ValueError):
    """Not a record that can be followed; the text gives the reason."""


class WaveWindow(Struct, frozen=True, forbid_unknown_fields=True):
    """When a machine of the wave may take the version up, by its own local time: `start` as cron writes it, and for so
    many seconds."""

    start: str
    for_: int = field(name="for")


class FleetWave(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The machines with one of `labels`, or the first `percent` of all, and those of earlier waves.

    The next wave opens when `success_percent` of those that were seen serve the version, and `pause` seconds later.
    More than `max_errors` failures halt everything.
    """

    labels: tuple[str, ...] = ()
    percent: float = 0.0
    success_percent: float = 100.0
    max_errors: int = 0
    pause: int = 0
    window: WaveWindow | None = None


class FleetRecord(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """See the module. Moments are like 2027-01-01T00:00:00Z; `not_before` "" is at once.

    `manifest_sha256` is that of the version's SHA256SUMS, `signature_sha256` of its SHA256SUMS.minisig, "" where it has
    none; `bytes` is the size of all its files. A source is where they lie: `object:BUCKET/NAME`, an https address, or a
    path beside the record. `hold`: no machine begins.
    """

    format: int
    sequence: int
    issued: str
    expires: str
    version: str
    manifest_sha256: str
    bytes: int
    sources: tuple[str, ...]
    waves: tuple[FleetWave, ...]
    not_before: str = ""
    hold: bool = False
    signature_sha256: str = ""

    @property
    def issued_at(self) -> float:
        return moment(self.issued)

    @property
    def expires_at(self) -> float:
        return moment(self.expires)

    @property
    def begins_at(self) -> float:
        """The earliest moment of the first wave."""
        return max(moment(self.not_before), self.issued_at) if self.not_before else self.issued_at

    def earliest(self, wave: int) -> float:
        """Before this moment the wave is not open, whatever a keeper writes: the pauses are signed."""
        return self.begins_at + sum(each.pause for each in self.waves[:wave])


class _Format(Struct):
    format: int = FORMAT


def encode(record: FleetRecord) -> bytes:
    """The bytes that are signed. Raises BadRecord."""
    _check(record)
    return _encoded(record)


def decode(data: bytes) -> FleetRecord:
    """Raises BadRecord."""
    if len(data) > MAX_RECORD_BYTES:
        raise BadRecord(f"the record has more than {size(MAX_RECORD_BYTES)}")
    try:
        needs = msgspec.json.decode(data, type=_Format).format
        if needs != FORMAT:
            raise BadRecord(f"the record has format {needs}, and this release reads {FORMAT}: upgrade modelward first")
        record = msgspec.json.decode(data, type=FleetRecord)
    except UNREADABLE as e:
        raise BadRecord(f"the record cannot be read: {e}") from e
    _check(record)
    if _encoded(record) != data:
        raise BadRecord("the record is not written as it must be: sorted keys, each once, without spaces and defaults")
    return record


def _encoded(record: FleetRecord) -> bytes:
    return msgspec.json.encode(record, order="sorted")


def _check(record: FleetRecord) -> None:
    try:
        for because in _mistakes(record):
            raise BadRecord(because)
    except BadRecord:
        raise
    except ValueError as e:  # a moment, or the times of a window
        raise BadRecord(f"the record cannot be used: {e}") from e


def _mistakes(record: FleetRecord) -> list[str]:
    found = [
        (not 1 <= record.sequence <= MAX_SEQUENCE, f"sequence is not from 1 to {MAX_SEQUENCE}"),
        (record.expires_at <= record.issued_at, "expires is not after issued"),
        (record.begins_at >= record.expires_at, "not_before is not before expires"),
        (record.earliest(len(record.waves) - 1) >= record.expires_at, "its last wave would open after its end"),
        (record.expires_at - record.issued_at > MAX_VALID_SECONDS, "expires is more than ten years after issued"),
        (not is_version_name(record.version) or record.version == LINK, "version is not a name of a version"),
        (not _SHA256.fullmatch(record.manifest_sha256), "manifest_sha256 is not 64 hex digits"),
        (
            bool(record.signature_sha256) and not _SHA256.fullmatch(record.signature_sha256),
            "signature_sha256 is not 64 hex digits",
        ),
        (not 1 <= record.bytes <= MAX_VERSION_BYTES, f"bytes is not from 1 to {MAX_VERSION_BYTES}"),
        (not 1 <= len(record.sources) <= MAX_SOURCES, f"sources has not 1 to {MAX_SOURCES} entries"),
        (not all(map(_is_source, record.sources)), "a source is no object, https address or path beside the record"),
        (not 1 <= len(record.waves) <= MAX_WAVES, f"waves has not 1 to {MAX_WAVES} entries"),
    ]
    mistakes = [f"the record cannot be used: {what}" for wrong, what in found if wrong]
    most = 0.0
    for number, wave in enumerate(record.waves[:MAX_WAVES], 1):
        mistakes += [f"the record cannot be used: wave {number}: {what}" for what in _wave_mistakes(wave, most)]
        most = max(most, wave.percent)
    return mistakes


def _wave_mistakes(wave: FleetWave, before: float) -> list[str]:
    found = [
        (bool(wave.labels) == bool(wave.percent), "give labels or percent, one of them"),
        (len(wave.labels) > MAX_LABELS, f"more than {MAX_LABELS} labels"),
        (not all(map(LABEL.fullmatch, wave.labels)), f"a label is no label; {LABEL_RIGHT}"),
        (not _is_percent(wave.percent), "percent is not from 0.01 to 100 with two decimals"),
        (0 < wave.percent <= before, "percent is not more than that of an earlier wave"),
        (not 0 < wave.success_percent <= 100, "success_percent is not more than 0 and at most 100"),
        (not 0 <= wave.max_errors <= 1_000_000, "max_errors is not from 0 to 1000000"),
        (not 0 <= wave.pause <= MAX_PAUSE_SECONDS, "pause is not from 0 to 90 days in seconds"),
    ]
    mistakes = [what for wrong, what in found if wrong]
    if (window := wave.window) is not None:
        parse(window.start)
        if not MINUTE <= window.for_ <= 7 * DAY:
            mistakes.append("its window does not last a minute to a week")
    return mistakes


def _is_percent(value: float) -> bool:
    return 0 <= value <= 100 and round(value, 2) == value


def _is_source(text: str) -> bool:
    if not text.isprintable() or len(text) > MAX_SOURCE_CHARS:
        return False
    return any(form.fullmatch(text) for form in (_OBJECT, _HTTPS, _RELATIVE))
