"""A fleet's record vouches for the bytes that it wants, as long as it is followed, good and not ended."""

from __future__ import annotations

from typing import Any

import pytest
from tests.daemon.fleet.records import EXPIRES, ISSUED, KEY, signed

from modelward.daemon.config.load import FleetSection
from modelward.daemon.controllers.vouched_version import vouched_sums
from modelward.daemon.state.sequences import TakenRow
from modelward.worker.shared.minisign_keys import make_key, public_line

FOLLOWED = {"url": "file:///media/record.json", "public_keys": (public_line(KEY.public),)}
OTHER = {"public_keys": (public_line(make_key(bytes(range(1, 41))).public),)}


@pytest.mark.parametrize(
    ("keys", "now", "vouched"),
    [
        (FOLLOWED, ISSUED, "ab" * 32),
        (FOLLOWED, ISSUED - 1e6, "ab" * 32),  # a clock that is late
        (FOLLOWED, EXPIRES, ""),
        (FOLLOWED | OTHER, ISSUED, ""),
        (FOLLOWED | {"url": ""}, ISSUED, ""),
    ],
)
def test_only_a_record_that_is_followed_vouches(keys: dict[str, Any], now: float, vouched: str) -> None:
    record = signed()
    row = TakenRow(record.digest, 7, ISSUED, record.text.decode())
    fleet = FleetSection(**keys)
    assert vouched_sums(fleet, row, now) == vouched
    assert vouched_sums(fleet, None, now) == ""
    assert vouched_sums(fleet, TakenRow("", 7, ISSUED, "no record"), now) == ""
