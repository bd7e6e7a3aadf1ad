"""A record is read exactly as it was written, or refused with the reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.daemon.fleet.records import EXPIRES, ISSUED, record

from modelward.daemon.fleet.record import (
    MAX_RECORD_BYTES,
    BadRecord,
    FleetWave,
    WaveWindow,
    decode,
    encode,
)


def test_a_record_is_read_back_and_is_the_same_bytes_each_time() -> None:
    wanted = record(
        not_before="2026-12-02T00:00:00Z",
        hold=True,
        sources=("object:models/v2", "https://a.example:8443/models/v2/", "models/v2"),
        waves=(FleetWave(percent=12.5, window=WaveWindow("0 22 * * mon-fri", 8 * 3600)), FleetWave(percent=100.0)),
    )
    assert decode(encode(wanted)) == wanted
    assert encode(decode(encode(wanted))) == encode(wanted)
    assert b'"window":{"for":28800,"start":"0 22 * * mon-fri"}' in encode(wanted)


def test_the_pauses_before_a_wave_are_signed_and_bind() -> None:
    assert [record().earliest(wave) - ISSUED for wave in range(3)] == [0, 600, 660]
    later = record(not_before="2026-12-01T07:00:00Z")
    assert (later.begins_at, later.earliest(1)) == (ISSUED + 3600, ISSUED + 4200)
    assert record(not_before="2026-11-01T00:00:00Z").begins_at == ISSUED
    assert record().expires_at == EXPIRES


WRONG: list[dict[str, Any]] = [
    {"sequence": 0}, {"sequence": 2**53}, {"issued": "now"}, {"expires": "2026-12-01T06:00:00Z"},
    {"expires": "2026-12-01T06:10:59Z"},  # its last wave would open after its end
    {"expires": "2099-01-01T00:00:00Z"}, {"not_before": "2027-01-01T00:00:00Z"}, {"version": "../v2"},
    {"version": ".v2"}, {"version": ""}, {"manifest_sha256": "AB" * 32}, {"manifest_sha256": ""}, {"bytes": 0},
    {"bytes": 2**45}, {"sources": ()}, {"sources": ("a",) * 9}, {"sources": ("http://a/",)}, {"sources": ("/etc",)},
    {"sources": ("../v2",)}, {"sources": ("a/../../v2",)}, {"sources": ("https://u@a/",)}, {"sources": ("file:///a",)},
    {"sources": ("a/..",)}, {"sources": ("object:a b",)}, {"sources": ("a" * 1025,)}, {"waves": ()},
    {"waves": (FleetWave(),)}, {"waves": (FleetWave(labels=("a",), percent=1.0),)},
    {"waves": (FleetWave(percent=100.5),)}, {"waves": (FleetWave(percent=0.001),)},
    {"waves": (FleetWave(percent=25.0), FleetWave(percent=25.0))}, {"waves": (FleetWave(labels=("A b",)),)},
    {"waves": (FleetWave(percent=5.0, success_percent=0.0),)}, {"waves": (FleetWave(percent=5.0, max_errors=-1),)},
    {"waves": (FleetWave(percent=5.0, pause=10**9),)}, {"waves": (FleetWave(percent=1.0),) * 33},
    {"waves": (FleetWave(percent=5.0, window=WaveWindow("nonsense", 3600)),)},
    {"waves": (FleetWave(percent=5.0, window=WaveWindow("0 22 * * *", 1)),)},
]  # fmt: skip


@pytest.mark.parametrize("more", WRONG, ids=repr)
def test_what_is_out_of_a_limit_is_neither_written_nor_read(more: dict[str, Any]) -> None:
    with pytest.raises(BadRecord):
        encode(record(**more))
    with pytest.raises(BadRecord):
        decode(msgspec.json.encode(record(**more), order="sorted"))


GOOD = encode(record())


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (GOOD + b"\n", "not written as it must be"),
        (GOOD.replace(b'"sequence":7', b'"sequence":6,"sequence":7'), "not written as it must be"),
        (GOOD.replace(b",", b", "), "not written as it must be"),
        (GOOD.replace(b'"sequence":7', b'"only":"gpu","sequence":7'), "unknown field"),
        (GOOD.replace(b'"format":1', b'"format":2,"news":1'), "upgrade modelward first"),
        (GOOD.replace(b'"sequence":7', b'"sequence":"7"'), "cannot be read"),
        (GOOD[:-1], "cannot be read"),
        (b"[" * 100_000, "more than"),
        (b"[" * (MAX_RECORD_BYTES - 1), "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_what_is_not_canonical_or_not_known_is_refused(data: bytes, because: str) -> None:
    with pytest.raises(BadRecord, match=because):
        decode(data)
