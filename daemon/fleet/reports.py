"""What a machine reports about the wanted version and about itself. Pure.

A newer release may report more: what is not known here is passed over. Invariant: a report that was read is within its
limits, also a hostile one.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct

from ...worker.shared.signed_fields import MAX_SEQUENCE
from ...worker.shared.unreadable import UNREADABLE
from ..config.fleet_checks import LABEL
from .membership import FleetMachine
from .record import MAX_LABELS

MAX_REPORT_BYTES: Final = 8 << 10
MAX_TEXT_CHARS: Final = 600
MAX_NAME_CHARS: Final = 255
MAX_ATTEMPTS: Final = 1_000_000
LEASE_SECONDS: Final = 300
"""A machine is there for so long after its last report; it reports each minute."""

Outcome = Literal["waiting", "fetching", "judging", "serving", "failed", "blocked", "drifted"]
"""`blocked`: this machine cannot take the version, and the version is not at fault. `drifted`: it was chosen, and
another one was chosen on the machine."""


class BadReport(ValueError):
    """Not a report; the text gives the reason."""


class MachineReport(FleetMachine, frozen=True, omit_defaults=True):
    """`sequence` is the record that it is about, `attempt` which try of it. `version` and `digest` are what the machine
    serves."""

    sequence: int = 0
    attempt: int = 1
    outcome: Outcome = "waiting"
    because: str = ""
    version: str = ""
    digest: str = ""
    host: str = ""
    release: str = ""
    processor: str = ""
    free_bytes: int = 0
    fetched_bytes: int = 0
    lease_seconds: int = LEASE_SECONDS


class ReceivedReport(Struct, frozen=True):
    """A report and when it was received, by the clock of the engine, not of the machine."""

    report: MachineReport
    at: float


_decoder: Final = msgspec.json.Decoder(MachineReport)


def encode_report(report: MachineReport) -> bytes:
    """Texts that are too long are cut, and so are the sizes of disks that claim to have no end."""
    cut = {name: getattr(report, name)[:MAX_TEXT_CHARS] for name in ("because", "processor", "host", "release")}
    sizes = {name: min(getattr(report, name), MAX_SEQUENCE) for name in ("free_bytes", "fetched_bytes")}
    return msgspec.json.encode(msgspec.structs.replace(report, **cut, **sizes))


def decode_report(data: bytes) -> MachineReport:
    """Raises BadReport."""
    if len(data) > MAX_REPORT_BYTES:
        raise BadReport(f"the report has more than {MAX_REPORT_BYTES} bytes")
    try:
        report = _decoder.decode(data)
    except UNREADABLE as e:
        raise BadReport(f"the report cannot be read: {e}") from e
    texts = (report.because, report.processor, report.host, report.release, report.version, report.digest)
    if not report.name or len(report.name) > MAX_NAME_CHARS or any(len(t) > MAX_TEXT_CHARS for t in texts):
        raise BadReport("the report has a text that is too long, or no name")
    if len(report.labels) > MAX_LABELS or not all(map(LABEL.fullmatch, report.labels)):
        raise BadReport("the report has labels that are none")
    sizes = (report.sequence, report.free_bytes, report.fetched_bytes)
    if not all(0 <= number <= MAX_SEQUENCE for number in sizes):
        raise BadReport("the report has a number that cannot be")
    if not 1 <= report.attempt <= MAX_ATTEMPTS or not 0 < report.lease_seconds <= 86_400:
        raise BadReport("the report has a number that cannot be")
    return report
