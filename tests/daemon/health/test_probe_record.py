"""What probes come to: counts, an alert after some in a row, and how it ended."""

from __future__ import annotations

from modelward.daemon.health.probe_record import ProbeAnswer, ProbeRecord

GOOD = ProbeAnswer(seconds=0.2, version="v1", clip="a.wav", expected="555", got="5 5 5")
BAD = ProbeAnswer(because="it answered 500", clip="a.wav", expected="555")


def test_some_in_a_row_are_an_alert_and_one_that_passes_ends_it() -> None:
    record = ProbeRecord()
    assert record.figure(2) == []
    record.add(BAD, 100.0)
    assert [f.value for f in record.figure(2)] == [0.0]
    record.add(BAD, 100.0)
    (figure,) = record.figure(2)
    assert (figure.value, figure.because) == (1.0, "2 in a row: it answered 500")
    record.add(GOOD, 200.0)
    (figure,) = record.figure(2)
    assert (figure.value, figure.because) == (0.0, "the right text came back")
    assert (record.passed, record.failed, record.version) == (1, 2, "v1")


def test_what_is_off_raises_nothing_and_says_why() -> None:
    record = ProbeRecord()
    for _ in range(9):
        record.add(BAD, 100.0)
    record.turn_off("probe.every is 0")
    assert record.figure(3) == [] and record.report(configured=True).off == "probe.every is 0"


def test_a_disk_or_a_clip_that_is_gone_does_not_end_an_alert() -> None:
    record = ProbeRecord()
    for _ in range(3):
        record.add(BAD, 100.0)
    record.add(ProbeAnswer(off="no clip"), 300.0)
    assert [f.value for f in record.figure(3)] == [1.0] and record.report(configured=True).off == "no clip"
    record.add(GOOD, 200.0)
    assert [f.value for f in record.figure(3)] == [0.0]


def test_the_95th_percentile_is_of_the_last_ones_that_passed() -> None:
    record = ProbeRecord()
    assert record.p95_seconds is None
    for number in range(160):
        record.add(ProbeAnswer(seconds=float(number)), 0.0)
    assert record.p95_seconds == 156.0


def test_reports_the_last_one_and_since_when_they_fail() -> None:
    record = ProbeRecord()
    assert record.report(configured=True).last is None and record.report(configured=True).failing_since == ""
    record.add(GOOD, 10.0)
    for moment in (60.0, 120.0):
        record.add(BAD, moment)
    found = record.report(configured=True)
    assert found.failing_since == "1970-01-01T00:01:00.000Z" and found.last is not None
    assert (found.last.time, found.last.passed, found.last.got) == ("1970-01-01T00:02:00.000Z", False, "")
    record.add(GOOD, 180.0)
    found = record.report(configured=False)
    assert found.failing_since == "" and not found.configured and found.last is not None
    assert (found.last.passed, found.last.seconds, found.last.expected, found.last.got) == (True, 0.2, "555", "5 5 5")
