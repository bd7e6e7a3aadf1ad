"""A report of a machine is read within its limits, whoever wrote it."""

from __future__ import annotations

import pytest

from modelward.daemon.fleet.reports import BadReport, MachineReport, decode_report, encode_report

REPORT = MachineReport("shop-1", ("canary",), 7, 2, "failed", "golden error rate 0.42", "v1", free_bytes=5)


def test_a_report_is_read_back_and_what_a_newer_release_adds_is_passed_over() -> None:
    data = encode_report(REPORT)
    assert decode_report(data) == REPORT
    assert decode_report(data[:-1] + b',"news":[1]}') == REPORT


def test_long_texts_are_cut_by_whoever_reports() -> None:
    assert len(decode_report(encode_report(MachineReport("a", because="x" * 5000))).because) == 600


def test_a_machine_whose_disk_claims_to_have_no_end_is_seen() -> None:
    assert decode_report(encode_report(MachineReport("a", free_bytes=2**64))).free_bytes == 2**53 - 1


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"name":""}', b'{"name":"a","outcome":"fine"}', b'{"name":"a","labels":["A B"]}',
        b'{"name":"a","attempt":0}', b'{"name":"a","lease_seconds":1000000}', b'{"name":"a","sequence":-1}',
        b'{"name":"a","because":"' + b"x" * 601 + b'"}', b'{"name":"' + b"x" * 9000 + b'"}', b"[" * 8000,
        b'{"name":"a","free_bytes":-1}', b'{"name":"a","free_bytes":' + b"9" * 4000 + b"}",
        b'{"name":"a","sequence":' + b"9" * 400 + b"}", b'{"name":"a","fetched_bytes":9007199254740992}',
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(BadReport):
        decode_report(data)
