"""Each version that is broken is refused by a real validator, at the right gate, with its own reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.versions import (
    BROKEN,
    broken_version,
    good_version,
    slow_down,
)
from tests.worker.validate.judging import judge

pytestmark = pytest.mark.system

GATES = {
    "files": ("layout", "signature"),
    "load": ("signature", "load"),
    "signature": ("signature",),
    "vocabulary": ("layout", "signature"),
    "cmvn": ("signature",),
    "run": ("probe",),
    "time": ("load", "probe"),
    "memory": ("load", "probe"),
    "golden": ("golden",),
}


MAY_STILL_COME = {
    "truncated", "garbage", "empty", "no_model", "directory", "link_dangling", "external_missing", "external_truncated",
    "tokens_missing", "cmvn_missing", "metadata_missing",
}  # fmt: skip
"""What the rest of a copy could mend."""


@pytest.mark.parametrize("name", [name for name, broken in BROKEN.items() if broken.caught in GATES])
def test_refuses_a_broken_version_with_its_own_reason_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    broken = BROKEN[name]
    if broken.not_as_root and os.geteuid() == 0:
        pytest.skip("root can read everything")
    version = broken_version(tmp_path / "models", name)
    outcome = judge(version, tmp_path / "cache", timeout_seconds=2.0 if broken.caught == "time" else PATIENCE_SECONDS)
    assert not outcome.verdict.accepted
    assert outcome.failed in GATES[broken.caught], outcome
    said = outcome.verdict.because.lower()
    assert any(word.lower() in said for word in broken.words), said
    assert outcome.verdict.incomplete is (name in MAY_STILL_COME)
    assert outcome.verdict.artifact == "" and not outcome.verdict.changing
    assert outcome.status == 0
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", [name for name, broken in BROKEN.items() if broken.caught == "serving"])
def test_accepts_what_only_requests_can_show_to_be_broken(name: str, tmp_path: Path) -> None:
    assert judge(broken_version(tmp_path / "models", name), tmp_path / "cache").verdict.accepted


def test_refuses_a_version_much_slower_than_the_live_one(tmp_path: Path) -> None:
    live = judge(good_version(tmp_path / "models"), tmp_path / "cache").verdict.artifact
    slow = good_version(tmp_path / "models", "dtmf-v1.1")
    slow_down(slow, rounds=200)
    outcome = judge(slow, tmp_path / "cache", live_artifact=live)
    assert outcome.failed == "budget"
    assert "times as slow as the live version, at most 2.0" in outcome.verdict.because
