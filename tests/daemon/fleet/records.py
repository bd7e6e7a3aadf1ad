"""Records for the tests of the fleet."""

from __future__ import annotations

from typing import Any

from modelward.daemon.fleet.record import FORMAT, FleetRecord, FleetWave
from modelward.daemon.fleet.signature import SignedRecord, open_record, sign_record
from modelward.worker.shared.minisign_keys import make_key
from modelward.worker.shared.moments import moment

KEY = make_key(bytes(range(40)))
ISSUED = moment("2026-12-01T06:00:00Z")
EXPIRES = moment("2027-01-01T00:00:00Z")
WAVES = (
    FleetWave(labels=("canary",), pause=600),
    FleetWave(percent=25.0, success_percent=50.0, max_errors=1, pause=60),
    FleetWave(percent=100.0),
)


def record(**more: Any) -> FleetRecord:
    fields: dict[str, Any] = {
        "format": FORMAT, "sequence": 7, "issued": "2026-12-01T06:00:00Z", "expires": "2027-01-01T00:00:00Z",
        "version": "v2", "manifest_sha256": "ab" * 32, "bytes": 1000, "sources": ("object:models/v2",), "waves": WAVES,
    }  # fmt: skip
    return FleetRecord(**(fields | more))


def signed(**more: Any) -> SignedRecord:
    return open_record(sign_record(record(**more), KEY), [KEY.public])
