"""The words of a command become waves, and a record that is within its limits."""

from __future__ import annotations

import pytest

from modelward.daemon.fleet.publishing import drafted, waves
from modelward.daemon.fleet.record import BadRecord, FleetWave, WaveWindow, decode, encode

CONDITIONS = {"success_percent": 95.0, "max_errors": 1, "pause_seconds": 3600.0}


def test_shares_and_labels_are_waves_in_their_order() -> None:
    window = WaveWindow("0 22 * * *", 3600)
    made = waves("canary+lab, 5%,12.5%,100%", **CONDITIONS, window=window)  # type: ignore[arg-type]
    assert made == (
        FleetWave(("canary", "lab"), 0.0, 95.0, 1, 3600, window),
        *(FleetWave((), share, 95.0, 1, 3600, window) for share in (5.0, 12.5, 100.0)),
    )
    record = drafted("v2", "ab" * 32, 9, sequence=1, now=1.8e9, valid_seconds=9e5, sources=["models/v2"], waves=made)
    assert decode(encode(record)) == record


@pytest.mark.parametrize("text", ["", "five%", "5%,5%", "5%,,100%", "Big Shops", "101%", "nan%"])
def test_what_is_no_wave_is_refused(text: str) -> None:
    with pytest.raises(BadRecord):
        made = waves(text, **CONDITIONS)  # type: ignore[arg-type]
        encode(drafted("v2", "ab" * 32, 9, sequence=1, now=1.8e9, valid_seconds=9e5, sources=["a"], waves=made))


@pytest.mark.parametrize("seconds", [1e10, 1e20, 1e300])
def test_a_record_that_would_never_end_is_refused_and_not_a_fault(seconds: float) -> None:
    made = waves("100%", **CONDITIONS)  # type: ignore[arg-type]
    with pytest.raises(BadRecord, match="ten years"):
        drafted("v2", "ab" * 32, 9, sequence=1, now=1.8e9, valid_seconds=seconds, sources=["a"], waves=made)
