"""Verdicts from a validator's words, and their shapes."""

from __future__ import annotations

import json

import msgspec
import pytest

from modelward.daemon.models import verdict as v
from modelward.worker import child_protocol

PASSED = v.GateResult("load", True, 0.51234)
WARNED = v.GateResult("probe", True, 0.2, "the text is empty", warning=True)
FAILED = v.GateResult("signature", False, 0.1, "no input speech")


def test_takes_over_what_the_validator_found() -> None:
    message = child_protocol.Judged(True, "", "ab" * 32, 100, 200)
    verdict = v.judged(message, [PASSED, WARNED], "2026-11-22T10:00:00.000Z")
    assert isinstance(verdict, v.Verdict)
    assert verdict.accepted
    assert verdict.because == "every gate passed"
    assert (verdict.digest, verdict.artifact, verdict.bytes, verdict.load_bytes) == ("ab" * 32, "", 100, 200)


def test_a_failed_gate_outweighs_the_word_accepted() -> None:
    verdict = v.judged(child_protocol.Judged(True, "fine"), [PASSED, FAILED], "")
    assert isinstance(verdict, v.Verdict)
    assert not verdict.accepted
    assert verdict.artifact == ""
    assert verdict.because == "gate signature: no input speech"


def test_a_version_that_changed_while_it_was_read_has_no_verdict() -> None:
    assert isinstance(v.judged(child_protocol.Judged(False, changing=True), [], ""), v.Changing)


def test_the_api_shape_is_exactly_that_of_the_contract() -> None:
    verdict = v.Verdict(False, "gate signature: no input speech", (PASSED, FAILED), digest="d", judged_at="x")
    assert msgspec.to_builtins(v.report(verdict)) == {
        "accepted": False,
        "because": "gate signature: no input speech",
        "gates": [
            {"gate": "load", "passed": True, "seconds": 0.512, "because": ""},
            {"gate": "signature", "passed": False, "seconds": 0.1, "because": "no input speech"},
        ],
    }


def test_a_stored_verdict_comes_back_whole() -> None:
    verdict = v.Verdict(True, "ok", (PASSED, WARNED), "d", "/a", 1, 2, "x")
    assert v.from_record(json.loads(json.dumps(v.to_record(verdict)))) == verdict


@pytest.mark.parametrize("record", [{}, {"accepted": True}, {"accepted": True, "because": "", "gates": [1]}])
def test_a_foreign_record_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot read a verdict"):
        v.from_record(record)


def test_a_validator_that_did_not_come_back_names_the_gate_it_was_in() -> None:
    verdict = v.broken("load", "the validator died of SIGSEGV", [PASSED], 1.5, "x")
    assert verdict.because == "gate load: the validator died of SIGSEGV"
    assert verdict.gates[-1] == v.GateResult("load", False, 1.5, "the validator died of SIGSEGV")


@pytest.mark.parametrize(
    ("status", "answered", "attempt", "again"),
    [
        (-9, False, 1, True),  # killed by the kernel or by hand
        (-9, False, 2, False),  # and once more: that may be the version's size
        (-9, True, 1, False),  # by us: too late, too loud; or after its last word
        (-11, False, 1, False),  # a crash is the version's own
        (1, False, 1, False),
        (None, False, 1, False),
    ],
)
def test_only_a_validator_killed_from_outside_is_tried_again(
    status: int | None, answered: bool, attempt: int, again: bool
) -> None:
    assert v.judge_again(status, answered=answered, attempt=attempt) is again
