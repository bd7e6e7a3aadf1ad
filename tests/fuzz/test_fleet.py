"""The fleet's record, its signature, waves and reports, as a server, a keeper or another machine may send them."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.daemon.fleet.records import KEY, record
from tests.fuzz.strategies import JSON, ODD_TEXTS, altered, altered_text, bytes_like, deep, fuzzed, twisted

from modelward.daemon.config import cron
from modelward.daemon.config.local_times import last_begin, next_begin
from modelward.daemon.fleet import publishing
from modelward.daemon.fleet.acceptance import LastTaken, accept, in_force
from modelward.daemon.fleet.manifest import Manifest
from modelward.daemon.fleet.membership import FleetMachine, place, wave_of
from modelward.daemon.fleet.nats_rights import BadUsers, with_user
from modelward.daemon.fleet.record import MAX_RECORD_BYTES, BadRecord, FleetRecord, FleetWave, WaveWindow
from modelward.daemon.fleet.record import decode as decode_record
from modelward.daemon.fleet.record import encode as encode_record
from modelward.daemon.fleet.reports import (
    MAX_REPORT_BYTES,
    BadReport,
    MachineReport,
    ReceivedReport,
    decode_report,
    encode_report,
)
from modelward.daemon.fleet.signature import SignedRecord, open_record, read_record, sign_record
from modelward.daemon.fleet.waves import WaveProgress, census, next_step, resumed, stopped
from modelward.worker.shared.minisign_keys import CannotSign, parse_secret, public_line, secret_file
from modelward.worker.shared.moments import moment, moment_text
from modelward.worker.shared.signed_fields import FLEET_MARK, BadFields, read_fields, write_fields

WHOLE = record(
    sources=("object:models/v2", "https://example.org/models/v2", "v2"),
    waves=(
        FleetWave(labels=("canary", "site=hz"), pause=600, window=WaveWindow("30 2 * * sun", 3600)),
        FleetWave(percent=25.0, success_percent=50.0, max_errors=1, pause=60),
        FleetWave(percent=100.0),
    ),
    not_before="2026-12-02T06:00:00Z",
)
RECORD = encode_record(WHOLE)
FIELDS: dict[str, Any] = json.loads(RECORD)
SIGNED = sign_record(WHOLE, KEY)
CARRIED: dict[str, Any] = json.loads(SIGNED)
REPORT = MachineReport("shop-1", ("canary",), 7, 1, "serving", "why", "v2", "d", "host", "0.9", "Xeon", 5, 6, 300)


def canonical(value: Any) -> bytes:
    """As a publisher writes it, whatever is in it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")


@fuzzed(200)
@given(st.one_of(twisted(FIELDS).map(canonical), bytes_like(RECORD), st.just(deep(20_000))))
@example(RECORD.replace(b"25.0", b"1e400"))
@example(RECORD.replace(b'"bytes":1000', b'"bytes":' + b"9" * 5000))
@example(RECORD.replace(b'"sequence":7', b'"sequence":7,"sequence":8'))
@example(RECORD.replace(b"v2", b"\xff\xfe"))
@example(b'{"format":' + deep(900) + b"}")
@example(RECORD + b" " * MAX_RECORD_BYTES)
def test_a_record_is_read_within_its_limits_and_means_one_thing_or_is_refused(data: bytes) -> None:
    try:
        found = decode_record(data)
    except BadRecord as e:
        assert str(e)
        return
    assert encode_record(found) == data and decode_record(data) == found
    assert found.issued_at <= found.begins_at < found.expires_at
    assert [found.earliest(wave) for wave in range(len(found.waves) + 1)] == sorted(
        found.earliest(wave) for wave in range(len(found.waves) + 1)
    )
    assert all(not source.startswith("/") and ".." not in source.split("/") for source in found.sources)


@fuzzed(150)
@given(st.one_of(twisted(CARRIED).map(canonical), bytes_like(SIGNED), st.just(deep(20_000))))
@example(SIGNED.replace(FLEET_MARK.encode(), b"modelward sequence=1"))
@example(canonical({**CARRIED, "record": CARRIED["record"].replace("v2", "v3")}))
@example(b'{"record":"\\ud800","signature":"\xff"}')
def test_a_signed_record_is_the_one_that_was_signed_or_refused(text: bytes) -> None:
    read_record(text)
    try:
        found = open_record(text, [KEY.public])
    except BadRecord as e:
        assert str(e)
        return
    assert found.record == WHOLE and found.text == text and read_record(text) == WHOLE


@fuzzed(150)
@given(
    st.one_of(
        twisted(msgspec.to_builtins(REPORT)).map(canonical),
        bytes_like(encode_report(REPORT)),
        st.just(b'{"name":"a","because":' + deep(3000) + b"}"),
        st.just(b" " * MAX_REPORT_BYTES + b"{}"),
    )
)
@example(b'{"name":"a","speed":1e999}')
@example(b'{"name":"a","free_bytes":' + b"9" * 4000 + b"}")
@example(b'{"name":"\xff"}')
def test_a_report_is_read_within_its_limits_or_refused(data: bytes) -> None:
    try:
        report = decode_report(data)
    except BadReport as e:
        assert str(e)
        return
    assert len(encode_report(report)) <= 4 * MAX_REPORT_BYTES
    assert decode_report(encode_report(report)) == report
    for number in (report.sequence, report.free_bytes, report.fetched_bytes):
        assert abs(number) < 2**64  # what is added up, compared and shown
    census(WHOLE, WaveProgress(7, 3), [ReceivedReport(report, WHOLE.issued_at)], WHOLE.issued_at)


_OUTCOMES = ("waiting", "fetching", "judging", "serving", "failed", "blocked", "drifted")
_NOW = WHOLE.issued_at + 3 * 86400
_REPORTS = st.lists(
    st.builds(
        lambda name, labels, sequence, attempt, outcome, at: ReceivedReport(
            MachineReport(name, labels, sequence, attempt, outcome), at
        ),
        st.integers(0, 30).map("shop-{}".format),
        st.sampled_from(((), ("canary",), ("site=hz", "other"))),
        st.sampled_from((6, 7, 7, 7, 8)),
        st.integers(1, 3),
        st.sampled_from(_OUTCOMES),
        st.sampled_from((_NOW, _NOW - 60, _NOW - 5000, _NOW + 5000, 0.0, float("inf"))),
    ),
    max_size=12,
)
_PROGRESS = st.builds(
    WaveProgress,
    st.sampled_from((0, 6, 7, 7, 7)),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from((0.0, _NOW - 1000, _NOW)),
    st.sampled_from(("", "", "", "halted by command")),
)


@fuzzed(200)
@given(_PROGRESS, _REPORTS, st.sampled_from((_NOW, WHOLE.issued_at - 1, WHOLE.expires_at, _NOW + 9e5)), st.booleans())
def test_a_wave_opens_one_at_a_time_and_never_against_its_conditions(
    progress: WaveProgress, reports: list[ReceivedReport], now: float, hold: bool
) -> None:
    wanted = msgspec.structs.replace(WHOLE, hold=hold)
    before = progress if progress.sequence == wanted.sequence else WaveProgress(wanted.sequence)
    step = next_step(wanted, progress, reports, now)
    after = step.progress
    assert step.because and after.sequence == 7 and before.open <= after.open <= min(before.open + 1, 3)
    assert (after.open > before.open) == (step.do == "open")
    if step.do == "open":
        assert not before.halted and not hold and wanted.begins_at <= now < wanted.expires_at
        assert now >= wanted.earliest(before.open)
        if before.open:
            counted = census(wanted, before, reports, now)[before.open - 1]
            passed = bool(wanted.waves[before.open - 1].percent) and not counted.known  # a share without machines
            assert counted.serving >= 1 or (passed and reports)
            assert counted.serving * 100 >= wanted.waves[before.open - 1].success_percent * counted.counted
    else:
        assert next_step(wanted, after, reports, now).progress == after  # nothing changes without news
    if before.halted:
        assert step.do == "halt" and after == before and not resumed(after).halted
    assert next_step(wanted, stopped(after, "why"), reports, now).do == "halt"


@fuzzed(100)
@given(ODD_TEXTS, st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_larger_share_of_a_fleet_holds_the_smaller_one(name: str, one: float, other: float) -> None:
    few, many = sorted((one, other))
    assert 0 <= place(name) < 100
    machine = FleetMachine(name)
    if wave_of([FleetWave(percent=few)], machine) == 0:
        assert wave_of([FleetWave(percent=many)], machine) == 0
    assert wave_of([FleetWave(percent=100.0)], machine) == 0


@fuzzed(150)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(-3, 3), st.integers(1, 400)), min_size=1, max_size=8),
    st.integers(-500, 500),
    st.sampled_from((0.0, 3600.0, 90_000.0)),
)
def test_whatever_is_offered_no_older_record_is_followed(
    offers: list[tuple[int, int, int]], clock_days: int, seen: float
) -> None:
    last: LastTaken | None = None
    now = WHOLE.issued_at + clock_days * 86400
    for sequence, issued_days, valid_days in offers:
        issued = WHOLE.issued_at + issued_days * 86400
        wanted = record(sequence=sequence, issued=moment_text(issued), expires=moment_text(issued + valid_days * 86400))
        offered = SignedRecord(wanted, f"{sequence}/{issued_days}/{valid_days}", b"")
        answer = accept(offered, last, now, seen)
        assert answer.because and (answer.taken is not None) == (answer.do == "take")
        if answer.taken is not None:
            assert last is None or answer.taken.sequence > last.sequence
            assert wanted.expires_at > now and not in_force(offered, answer.taken, now)
            last = answer.taken
            assert accept(offered, last, now, seen).do == "keep"


@fuzzed(150)
@given(
    altered_text("canary,5%,25%,100%", "a+b,100%", "site=hz,1e400%,nan%"),
    st.floats(),
    st.floats(0, 1e300),
    st.floats(0, 1e300),
)
@example("100%", 100.0, 0.0, 1e300)
@example("100%", 100.0, 1e300, 1.0)
def test_what_a_publisher_writes_is_a_record_or_a_reason(
    words: str, success: float, pause: float, valid: float
) -> None:
    try:
        waves = publishing.waves(words, success_percent=success, max_errors=0, pause_seconds=pause)
        made = publishing.drafted(
            "v2",
            Manifest("ab" * 32, "", 5),
            sequence=1,
            now=WHOLE.issued_at,
            valid_seconds=valid,
            sources=["v2"],
            waves=waves,
        )
        text = sign_record(made, KEY)
    except BadRecord as e:
        assert str(e)
        return
    assert open_record(text, [KEY.public]).record == made


@fuzzed(200)
@given(
    st.one_of(
        altered_text("modelward sequence=7 expires=2027-01-01T00:00:00Z", "modelward", FLEET_MARK, "timestamp:1"),
        ODD_TEXTS,
    )
)
@example("modelward sequence=9007199254740992")
@example("modelward sequence=7 expires=2027-02-30T00:00:00Z")
@example("modelward sequence=٧")
@example("modelward sequence=7 sequence=7")
def test_signed_fields_are_read_whole_or_refused(comment: str) -> None:
    try:
        found = read_fields(comment)
    except BadFields as e:
        assert str(e) and len(str(e)) < 500
        return
    if comment.split()[:1] == ["modelward"]:
        assert 1 <= found.sequence < 2**53 and found.expires_at == (moment(found.expires) if found.expires else 0)
        assert read_fields(write_fields(found.sequence, found.expires)) == found
    else:
        assert found.sequence == 0 and not found.expires


@fuzzed(150)
@given(
    st.one_of(altered_text("2027-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"), ODD_TEXTS),
    st.floats(allow_nan=False),
)
@example("0001-01-01T00:00:00Z", 1e20)
@example("0999-01-01T00:00:00Z", -6.3e10)
def test_a_moment_is_written_as_it_was_read(text: str, wall: float) -> None:
    try:
        assert moment_text(moment(text)) == text
    except ValueError as e:
        assert str(e)
    try:
        written = moment_text(wall)
    except ValueError as e:
        assert str(e)
        return
    assert moment(written) == int(wall)


SECRET = secret_file(KEY)


@fuzzed(150)
@given(bytes_like(SECRET))
@example(SECRET.replace(b"\n", b"\r\n"))
def test_a_secret_key_signs_or_is_refused_without_being_shown(content: bytes) -> None:
    try:
        found = parse_secret(content)
    except CannotSign as e:
        assert str(e) and SECRET.split()[-1].decode()[20:60] not in str(e)
        return
    assert found == KEY and repr(found).count(public_line(KEY.public)[2:20]) <= 1
    assert KEY.seed.hex() not in repr(found)


@fuzzed(120)
@given(
    st.one_of(
        altered_text(with_user("", "machine", "shop-1", "UA1"), with_user("", "keeper", "k", "UB")),
        JSON.map(lambda value: f"users = {json.dumps(value)}"),
        ODD_TEXTS,
    ),
    st.sampled_from(("shop-1", "shop-2")),
)
@example("users = " + deep(20_000).decode(), "shop-1")
def test_a_file_of_users_gets_one_more_or_is_left_alone(text: str, name: str) -> None:
    try:
        made = with_user(text, "machine", name, "UNEW")
    except BadUsers as e:
        assert str(e)
        return
    users = json.loads(made.partition("users = ")[2])
    assert [user.get("nkey") for user in users][-1] == "UNEW"
    assert with_user(made, "machine", name, "UNEW") == made


@fuzzed(120)
@given(
    st.one_of(altered_text("30 2 * * sun", "*/15 0-6 1,15 feb-nov *", "0 0 31 2 *", "59 23 29 2 0-7"), ODD_TEXTS),
    st.sampled_from(("UTC", "Europe/Berlin", "Asia/Shanghai", "America/Sao_Paulo", "Pacific/Apia")),
    st.floats(0, 4e9),
)
@example("0 0 29 2 *", "UTC", 4e9)
def test_repeated_times_are_read_and_found_or_refused(text: str, zone: str, wall: float) -> None:
    try:
        times = cron.parse(text)
    except ValueError as e:
        assert str(e) and len(str(e)) < 200
        return
    assert cron.parse(" ".join(text.split()).upper()) == times
    before = last_begin(times, ZoneInfo(zone), wall, 7 * 86400)
    after = next_begin(times, ZoneInfo(zone), wall)
    assert before is None or wall - 7 * 86400 <= before <= wall
    assert after is None or wall < after <= wall + 4 * 86400
    if after is not None:
        assert last_begin(times, ZoneInfo(zone), after, 60) == after


@fuzzed(100)
@given(altered(RECORD), st.integers(0, 5))
def test_one_number_and_two_records_is_never_a_reason_to_change(data: bytes, days: int) -> None:
    assume(data != RECORD)
    try:
        other: FleetRecord = decode_record(data)
    except BadRecord:
        return
    last = LastTaken(WHOLE.sequence, "own", WHOLE.issued_at)
    answer = accept(SignedRecord(other, "other", b""), last, WHOLE.issued_at + days * 86400, 0)
    assert answer.do != "take" or other.sequence > WHOLE.sequence
