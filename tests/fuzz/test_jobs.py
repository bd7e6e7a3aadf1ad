"""Jobs: their requests, the records and pieces on the disk, the answers to their reports; and clips in messages."""

from __future__ import annotations

import json
import os
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.asking import answered
from tests.fuzz.strategies import JSON, ODD_TEXTS, altered_text, bytes_like, deep, fuzzed, twisted
from tests.worker.http.serving import Served, serving, wav

from modelward.daemon.jobs.callback_sender import CallbackFailed, _status
from modelward.daemon.jobs.job_scan import JobScan
from modelward.worker.http.errors import ApiError
from modelward.worker.http.funasr_talk import FunasrTalk
from modelward.worker.http.openai_fields import FORMATS, requested_fields
from modelward.worker.http.sherpa_talk import SherpaTalk
from modelward.worker.http.talks import Talk
from modelward.worker.jobs.piece_file import PiecesDone, parse_pieces, read_pieces
from modelward.worker.jobs.store import JobStore, NotTaken, StoreLimits
from modelward.worker.shared.job_directory import UnreadableJob, read_record
from modelward.worker.shared.job_records import (
    ANSWER,
    CALLBACK,
    CLAIM,
    OUTCOME,
    PIECES,
    REQUEST,
    STATES,
    JobClaim,
    JobOutcome,
    JobRequest,
    JobSeen,
    in_order,
    job_as_json,
    position,
)

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
ID = "job_" + "0a" * 16
ASKED = {"id": ID, "created": 1.8e9, "client": "a", "owner": "o", "bytes": 5, "fields": {"language": ["zh"]}}
CLAIMED = {"worker": "w1", "run": "r", "pieces": 1, "deaths": 0, "deaths_alone": 0}
ENDED_WITH = {
    "state": "done", "finished": 1.8e9, "duration": 2.0, "text": "hi", "answer_type": "application/json",
    "versions": [{"version": "v1", "digest": "d", "start": 0.0, "end": 2.0}],
}  # fmt: skip
REPORTED = {"state": "waiting", "tries": 1, "last": 1.8e9, "because": "it answered 500"}
_SPAN = {"type": "Plan", "samples": 32000, "spans": [[0, 16000], [16000, 32000]]}
_PIECE: dict[str, Any] = {"type": "PieceDone", "version": "v1", "digest": "d", "piece": {"text": "hi"}}
LINES = json.dumps(_SPAN).encode() + b"\n" + (json.dumps(_PIECE).encode() + b"\n") * 2


_FAR = json.dumps({**ASKED, "created": 1e300}).encode()
_LONG_AGO = json.dumps({**ENDED_WITH, "finished": -1e300}).encode()


def records(example: Any) -> st.SearchStrategy[bytes]:
    """A record as it is, changed, or of another program."""
    data = json.dumps(example).encode()
    return st.one_of(
        st.just(data),
        twisted(example).map(lambda value: json.dumps(value).encode()),
        bytes_like(data),
        st.sampled_from((b'{"x":' + deep(9000) + b"}", b"", b"\xff", b'{"created":1e400}')),
    )


@fuzzed(60)
@given(records(ASKED), records(CLAIMED), records(ENDED_WITH), records(REPORTED), st.booleans(), bytes_like(LINES))
@example(b'{"x":' + deep(9000) + b"}", b"{}", b"{}", b"{}", False, LINES)
@example(json.dumps(ASKED).encode(), b'{"x":' + deep(9000) + b"}", b"{}", b"{}", False, deep(9000) + b"\n")
@example(
    json.dumps({**ASKED, "created": 1e300}).encode(),
    b"",
    json.dumps({**ENDED_WITH, "finished": -1e300}).encode(),
    b"",
    True,
    b"",
)
def test_one_damaged_job_harms_no_other(
    asked: bytes, claim: bytes, outcome: bytes, callback: bytes, ended: bool, pieces: bytes
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        good = JobStore(directory, worker="w1", run="r")
        other = good.accept(b"audio", {}, StoreLimits(10, 1 << 20), now=1.8e9, client="b")
        bad = Path(directory, ID)
        bad.mkdir()
        for name, data in ((REQUEST, asked), (CLAIM, claim), (CALLBACK, callback), (PIECES, pieces), (ANSWER, b"{}")):
            (bad / name).write_bytes(data)
        if ended:
            (bad / OUTCOME).write_bytes(outcome)
        scan = JobScan(Path(directory))
        found = scan.run(1.8e9 + 60, 3600)
        assert found.counts.keys() == set(STATES) and sum(found.counts.values()) in (1, 2)
        for request in found.due:
            try:
                assert len(scan.body(request, 3600)) < 1 << 21
            except UnreadableJob as e:
                assert str(e).startswith("cannot")
        claimed = JobStore(directory, worker="w1", run="r").claim(1.8e9, left=[ID])
        assert claimed is not None and claimed.request.id == other.id
        os.close(claimed.lock)
        scan.run(1.8e9 + 10 * 86400, 3600)


@fuzzed(120)
@given(st.sampled_from(((JobRequest, ASKED), (JobClaim, CLAIMED), (JobOutcome, ENDED_WITH))), st.data())
def test_a_record_of_a_job_is_read_as_it_was_or_unreadable(pair: tuple[Any, Any], data: st.DataObject) -> None:
    kind, example = pair
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        path = Path(directory, "record")
        path.write_bytes(data.draw(records(example)))
        try:
            found = read_record(path, kind)
        except UnreadableJob as e:
            assert str(e).startswith("cannot read")
            return
        path.write_bytes(msgspec.json.encode(found))
        assert read_record(path, kind) == found
        if isinstance(found, JobOutcome):
            json.dumps(msgspec.to_builtins(job_as_json(JobRequest("x", 0.0), found.state, outcome=found)))


def as_line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@fuzzed(150)
@given(st.one_of(bytes_like(LINES), twisted(_SPAN, _PIECE).map(lambda value: LINES + as_line(value))))
@example(deep(9000) + b"\n")
@example(LINES + deep(9000) + b"\n")
@example(b'{"type":"Plan","samples":-1,"spans":[[]]}\n')
@example(b'{"type":"Plan","samples":1,"spans":[[]]}\n' + json.dumps(_PIECE).encode() + b"\n")
@example(b'{"type":"Plan","samples":' + b"9" * 400 + b',"spans":[[0,1]]}\n')
def test_finished_pieces_are_the_whole_lines_before_the_first_bad_one(data: bytes) -> None:
    found = parse_pieces(data)
    assert found.whole_bytes <= len(data) and data[: found.whole_bytes].endswith((b"\n", b""))
    assert parse_pieces(data[: found.whole_bytes]) == found
    progress = found.progress()
    assert 0 <= progress.done < 1e12 and 0 <= progress.duration < 1e12
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        path = Path(directory, "pieces")
        assert read_pieces(path) == PiecesDone()
        path.write_bytes(data)
        assert read_pieces(path) == found


_SEEN = st.lists(
    st.builds(
        lambda number, created, name, state, begun: JobSeen(JobRequest(f"j{number}", created, name), state, begun),
        st.integers(0, 99), st.sampled_from((0.0, 1.0, 2.0)), st.sampled_from("abc"), st.sampled_from(STATES),
        st.booleans(),
    ),
    max_size=10, unique_by=lambda job: job.request.id,
)  # fmt: skip


@fuzzed(100)
@given(_SEEN)
def test_every_waiting_job_has_one_place(jobs: list[JobSeen]) -> None:
    order = in_order(jobs)
    queued = [job.request.id for job in jobs if job.state == "queued"]
    assert sorted(position(job, jobs) for job in queued) == list(range(1, len(queued) + 1))
    assert in_order(list(reversed(jobs))) == order and len(order) == sum(j.state in ("queued", "running") for j in jobs)


@fuzzed(80)
@given(bytes_like(b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 302 Found\r\n", head=20))
@example(b"HTTP/1.1 \xd9\xa3\xd9\xa3\xd9\xa3 x\r\n")
def test_the_answer_to_a_report_has_a_status_or_is_no_http(line: bytes) -> None:
    try:
        assert 0 <= _status(line) <= 999
    except CallbackFailed as e:
        assert str(e)


_FIELDS = st.dictionaries(
    st.one_of(
        st.sampled_from(
            ("response_format", "temperature", "stream", "include[]", "timestamp_granularities[]",
             "known_speaker_names", "timestamp_granularities[0]", "prompt")
        ),
        ODD_TEXTS,
    ),
    st.lists(
        st.one_of(altered_text("verbose_json", "0.2", "true", '["word","segment"]', "word,segment"), ODD_TEXTS),
        min_size=1, max_size=2,
    ),
    max_size=4,
)  # fmt: skip


@fuzzed(150)
@given(_FIELDS)
@example({"timestamp_granularities": [deep(980).decode()]})
@example({"timestamp_granularities": ["[" + "9" * 5000 + "]"]})
@example({"temperature": ["9" * 5000]})
def test_fields_of_a_form_are_honoured_or_refused_by_name(repeated: dict[str, list[str]]) -> None:
    fields = {name: values[-1] for name, values in repeated.items()}
    try:
        found = requested_fields(fields, repeated)
    except ApiError as e:
        assert e.status == 400 and e.message.startswith("cannot") and len(e.message) < 500 and e.param
        return
    assert found.format in FORMATS


SETTINGS = {
    "mode": "offline", "wav_name": "a", "wav_format": "pcm", "audio_fs": 16000, "is_speaking": True, "svs_lang": "auto",
    "itn": True, "is_end": False, "hotwords": '{"x": 20}', "chunk_size": [5, 10, 5],
}  # fmt: skip
OVER = b'{"is_speaking": false}'
_MESSAGES = st.lists(
    st.one_of(
        twisted(SETTINGS).map(json.dumps),
        bytes_like(json.dumps(SETTINGS).encode(), OVER).map(lambda data: data.decode(errors="replace")),
        st.binary(max_size=40),
        st.sampled_from((struct.pack("<ii", 16000, 8) + bytes(8), wav(0.01)[:50], "Done", deep(900).decode())),
        st.builds(lambda rate, size: struct.pack("<ii", rate, size), st.integers(-5, 400_000), st.integers(-9, 99)),
    ),
    max_size=5,
)


@fuzzed(200)
@given(_MESSAGES, st.sampled_from(("funasr", "sherpa")))
@example(['{"audio_fs":' + deep(480).decode() + "}"], "funasr")
@example(['{"audio_fs":' + deep(900).decode() + "}"], "funasr")
@example(['{"audio_fs":' + "9" * 4000 + "}"], "funasr")
@example(['{"wav_name":"\ud800"}'], "funasr")
@example(['{"itn":' + "9" * 4000 + "}"], "funasr")
def test_a_clip_in_messages_is_within_its_protocol_or_refused(messages: list[str | bytes], protocol: str) -> None:
    talk: Talk = FunasrTalk() if protocol == "funasr" else SherpaTalk(50)
    sent = given_bytes = 0
    for message in messages:
        given_bytes += len(message) if isinstance(message, bytes) else 0
        try:
            fed = talk.feed(message)
        except ApiError as e:
            assert e.status in (400, 413) and e.message.startswith("cannot") and len(e.message) < 600
            text = talk.failure({"message": e.message})
            assert not text or json.loads(text)
            return
        sent += len(fed.audio)
        assert sent <= given_bytes + 44 * len(messages)
        if fed.over:
            answer = json.loads(talk.result({"text": "hi", "version": "v1", "segments": []}))
            assert answer["text"] == "hi" and len(json.dumps(answer)) < 2000
            talk.begin()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("jobs")
    (directory / "jobs").mkdir()
    tokens = directory / "tokens"
    tokens.write_text("let-me-in\nother\n")
    more = {"jobs_dir": str(directory / "jobs"), "token_file": str(tokens), "jobs_callbacks": ("https://a.example/",)}
    with serving(directory, max_upload_bytes=50_000, jobs_max_jobs=1000, jobs_max_bytes=1 << 24, **more) as running:
        yield running


HEAD = b"Host: x\r\nConnection: close\r\nAuthorization: Bearer let-me-in\r\n"
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + wav(0.01)
    + b'\r\n--x\r\nContent-Disposition: form-data; name="callback"\r\n\r\nhttps://a.example/x\r\n'
    + b'--x\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nsrt\r\n--x--\r\n'
)  # fmt: skip
REQUESTS = (
    b"POST /v1/jobs HTTP/1.1\r\n" + HEAD + b"Content-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: %d\r\n\r\n" % len(FORM) + FORM,
    b"GET /v1/jobs?limit=5&after=" + ID.encode() + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v1/jobs/" + ID.encode() + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v1/jobs/" + ID.encode() + b"/result HTTP/1.1\r\n" + HEAD + b"Range: bytes=0-1\r\n\r\n",
    b"DELETE /v1/jobs/" + ID.encode() + b" HTTP/1.1\r\n" + HEAD + b"X-Forwarded-For: 1.2.3.4, x\r\n\r\n",
)  # fmt: skip


@fuzzed(60)
@given(data=bytes_like(*REQUESTS, head=260))
@example(data=REQUESTS[1].replace(b"limit=5", b"limit=%d9%a3"))
@example(data=REQUESTS[2].replace(ID.encode(), b"..%2f..%2fetc%2fpasswd"))
@example(data=REQUESTS[2].replace(ID.encode(), b"%ed%a0%80"))
def test_no_request_about_jobs_makes_the_worker_fail_or_shows_another_ones(served: Served, data: bytes) -> None:
    place = ("127.0.0.1", served.port)
    answer = answered(place, data, 0.2)
    for status in re.findall(rb"(?:^|\r\n)HTTP/1\.1 (\d+)", answer):
        assert status < b"500" or status == b"503", (data[:300], answer[:500])
    accepted = re.search(rb"\r\nlocation: (/v1/jobs/job_[0-9a-f]{32})\r\n", answer, re.IGNORECASE)
    if accepted is not None:
        foreign = HEAD.replace(b"let-me-in", b"other")
        for method in (b"GET", b"DELETE"):
            shown = answered(place, method + b" " + accepted[1] + b" HTTP/1.1\r\n" + foreign + b"\r\n", 20)
            assert shown.startswith(b"HTTP/1.1 404")
        own = answered(place, b"GET " + accepted[1] + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 20)
        assert own.startswith(b"HTTP/1.1 200")
    assert set(os.listdir(served.directory)) <= {
        "jobs",
        "tokens",
        "error.log",
        "access.log",
        "worker.log",
        "modelward.log",
    }
    assert b"a request failed" not in (served.directory / "error.log").read_bytes()


@fuzzed(60)
@given(st.dictionaries(st.text(), st.lists(st.text(), max_size=3), max_size=5), st.text(), st.text())
@example({"a": ["x" * 20_000]}, "", "")
def test_whatever_a_client_names_is_kept_as_a_job_or_refused(
    fields: dict[str, list[str]], client: str, owner: str
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        store = JobStore(directory)
        before = set(os.listdir(directory))
        try:
            made = store.accept(b"a", fields, StoreLimits(5, 1000), now=1.8e9, client=client, owner=owner)
        except NotTaken as e:
            assert str(e) and set(os.listdir(directory)) - before <= {".store.lock", "store.lock", ".lock"}
            return
        kept = JobStore(directory).directory.job(made.id)
        assert kept is not None and kept.request == made


@fuzzed(60)
@given(JSON)
def test_any_json_is_no_record_or_a_record(value: Any) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        path = Path(directory, "x")
        path.write_text(json.dumps(value))
        try:
            read_record(path, JobOutcome)
        except UnreadableJob as e:
            assert len(str(e)) < 2000
