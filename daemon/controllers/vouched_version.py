"""Which version the fleet's record vouches for: an old number in that version's own signature does not matter then.

Only a record counts that this machine follows, that a key of `fleet.public_keys` signed, and that has not ended. It
names the bytes of SHA256SUMS, and so of each file. Invariant: without a fleet, or with any doubt, it vouches for
nothing.
"""

from __future__ import annotations

from ..config.schema_fleet import FleetSection
from ..state.sequences import TakenRow


def vouched_sums(fleet: FleetSection, row: TakenRow | None, now: float) -> str:
    """The SHA-256 of the SHA256SUMS that the record of `row` wants; "" for none. On a thread: it verifies a
    signature."""
    if not fleet.url or row is None:
        return ""
    from ...worker.shared.minisign import parse_key
    from ..fleet.acceptance import LastTaken, in_force
    from ..fleet.record import BadRecord
    from ..fleet.signature import open_record

    try:
        signed = open_record(row.content.encode(), [parse_key(line) for line in fleet.public_keys])
    except BadRecord:  # another key is configured by now
        return ""
    ended = in_force(signed, LastTaken(row.sequence, row.digest, row.issued), now)
    return "" if ended else signed.record.manifest_sha256
