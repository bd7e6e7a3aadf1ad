"""What probes come to: counts, an alert after some in a row, and how it ended."""

from __future__ import annotations

from modelward.daemon.health.probe_record import ProbeAnswer, ProbeRecord

GOOD, BAD = ProbeAnswer(seconds=0.2, version="v1"), ProbeAnswer(because="it answered 500")


def test_some_in_a_row_are_an_alert_and_one_that_passes_ends_it() -> None:
    record = ProbeRecord()
    assert record.figure(2) == []
    record.add(BAD)
    assert [f.value for f in record.figure(2)] == [0.0]
    record.add(BAD)
    (figure,) = record.figure(2)
    assert (figure.value, figure.because) == (1.0, "2 in a row: it answered 500")
    record.add(GOOD)
    (figure,) = record.figure(2)
    assert (figure.value, figure.because) == (0.0, "the right text came back")
    assert (record.passed, record.failed, record.version) == (1, 2, "v1")


def test_what_is_off_raises_nothing_and_says_why() -> None:
    record = ProbeRecord()
    for _ in range(9):
        record.add(BAD)
    record.turn_off("probe.every is 0")
    assert record.figure(3) == [] and record.report().off == "probe.every is 0"


def test_a_disk_or_a_clip_that_is_gone_does_not_end_an_alert() -> None:
    record = ProbeRecord()
    for _ in range(3):
        record.add(BAD)
    record.add(ProbeAnswer(off="no clip"))
    assert [f.value for f in record.figure(3)] == [1.0] and record.report().off == "no clip"
    record.add(GOOD)
    assert [f.value for f in record.figure(3)] == [0.0]


def test_the_95th_percentile_is_of_the_last_ones_that_passed() -> None:
    record = ProbeRecord()
    assert record.p95_seconds is None
    for number in range(160):
        record.add(ProbeAnswer(seconds=float(number)))
    assert record.p95_seconds == 156.0
