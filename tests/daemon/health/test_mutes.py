"""What a mute means, how long, and what of it outlives the daemon."""

from __future__ import annotations

import json

import pytest

from modelward.daemon.health.mutes import (
    MAX_MUTES,
    Acknowledgement,
    Mute,
    current,
    mute_of,
    next_end,
    read,
    record,
)
from modelward.daemon.units import DAY, HOUR

NOW = 1_800_000_000.0
DISK, ROOT = "disk_used_percent", "disk_used_percent:/"


def mutes(*names: str) -> dict[str, Mute]:
    return {name: Mute(name, NOW, NOW + HOUR) for name in names}


@pytest.mark.parametrize(
    ("muted", "rule", "fingerprint", "held"),
    [
        ("all", DISK, ROOT, True),
        (DISK, DISK, ROOT, True),
        (ROOT, DISK, ROOT, True),
        (ROOT, DISK, "disk_used_percent:/data", False),
        ("cpu_used_percent", DISK, ROOT, False),
        # several rules on one figure are named by their thresholds
        (DISK, f"{DISK}>80", f"{DISK}>80:/", True),
        (ROOT, f"{DISK}>80", f"{DISK}>80:/", True),
        (f"{DISK}>80", f"{DISK}>80", f"{DISK}>80:/", True),
        (f"{DISK}>95", f"{DISK}>80", f"{DISK}>80:/", False),
        ("disk_used_percent:/data", f"{DISK}>80", f"{DISK}>80:/", False),
        ("workers_ready", "workers_ready<2", "workers_ready<2:", True),
    ],
)
def test_a_mute_holds_back_what_it_names(muted: str, rule: str, fingerprint: str, held: bool) -> None:
    assert (mute_of(mutes(muted), rule, fingerprint, NOW) is not None) is held


@pytest.mark.parametrize(
    ("wall", "holds"), [(NOW, True), (NOW + HOUR - 1, True), (NOW + HOUR, False), (NOW - 60, True), (NOW - DAY, False)]
)
def test_a_mute_ends_by_itself_and_a_clock_that_was_set_far_back_ends_it_too(wall: float, holds: bool) -> None:
    assert (mute_of(mutes("all"), DISK, ROOT, wall) is not None) is holds
    assert bool(current(mutes("all"), wall)) is holds


def test_the_one_that_ends_last_counts() -> None:
    both = {**mutes("all"), DISK: Mute(DISK, NOW, NOW + DAY)}
    assert mute_of(both, DISK, ROOT, NOW) == both[DISK]
    assert next_end(both.values(), NOW) == NOW + HOUR
    assert next_end(both.values(), NOW + 2 * DAY) is None


def test_what_was_kept_comes_back_without_what_has_ended() -> None:
    kept = {"all": Mute("all", NOW, NOW + HOUR, "moving"), DISK: Mute(DISK, NOW - DAY, NOW - 1)}
    known = {ROOT: Acknowledgement(NOW, "a disk is ordered")}
    text = json.loads(json.dumps(record(kept, known)))
    assert read(text, NOW) == ({"all": kept["all"]}, known)
    early, _ = read(text, NOW - 30 * DAY)  # the clock was behind when the machine started
    assert mute_of(early, DISK, ROOT, NOW - 30 * DAY) is None and mute_of(early, DISK, ROOT, NOW + 1) == kept["all"]


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        {"mutes": 1},
        {"mutes": [{}], "acknowledged": {}},
        {"mutes": [{"name": "all", "since": NOW, "until": float("inf"), "because": ""}], "acknowledged": {}},
        {"mutes": [{"name": "all", "since": NOW, "until": NOW + 1000 * DAY, "because": ""}], "acknowledged": {}},
        {"mutes": [], "acknowledged": {"a": {"since": True, "because": ""}}},
    ],
)
def test_a_record_that_makes_no_sense_mutes_nothing(kept: object) -> None:
    assert read(kept, NOW) == ({}, {})


def test_a_damaged_record_is_bounded() -> None:
    many = [{"name": f"n{n}", "since": NOW, "until": NOW + 1, "because": "x" * 9999} for n in range(5000)]
    found, _ = read({"mutes": many, "acknowledged": {}}, NOW)
    assert len(found) == MAX_MUTES and max(len(m.because) for m in found.values()) <= 200
