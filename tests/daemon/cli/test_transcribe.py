"""Audio goes out whole, texts come back, and every failure has its sentence and status."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call
from tests.support import PATIENCE_SECONDS, modules

Answer = Callable[[str, dict[str, str], bytes], tuple[int, object]]


class Service:
    """A speech service in a few lines; `answer` gets the path, the headers and the body."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.read_body = True
        self.others: list[tuple[str, str]] = []
        self.asked: Iterator[tuple[int, object]] = iter(())
        self.answer: Answer = lambda path, headers, body: (200, {"result": f"text {len(self.seen)}"})


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self._body() if service.read_body else b""
            seen = (self.path, dict(self.headers), body)
            service.seen.append(seen)
            self.send(*service.answer(*seen))

        def do_GET(self) -> None:
            service.others.append(("GET", self.path))
            self.send(*next(service.asked))

        def do_DELETE(self) -> None:
            service.others.append(("DELETE", self.path))
            self.send(200, {})

        def send(self, status: int, answer: object) -> None:
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"]))
            found = b""
            while length := int(self.rfile.readline(), 16):
                found += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield service
        server.shutdown()
        thread.join()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip one.wav"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


def test_sends_the_file_whole_with_its_fields(call: Call, service: Service, clip: Path) -> None:
    outcome = call("transcribe", str(clip), "--url", service.url, "--language", "zh", "--itn")
    assert (outcome.status, outcome.out) == (0, "text 1\n")
    path, headers, body = service.seen[0]
    assert path == "/api/predict"
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    parts = body.split(b"--" + boundary)
    assert parts[0] == b"" and parts[-1] == b"--\r\n"
    assert b'name="language"\r\n\r\nzh\r\n' in parts[1]
    assert b'name="itn"\r\n\r\ntrue\r\n' in parts[2]
    head, _, content = parts[3].partition(b"\r\n\r\n")
    assert b'name="audio"; filename="clip%20one.wav"' in head
    assert content == clip.read_bytes() + b"\r\n"


def test_a_job_is_asked_for_until_it_ended_and_removed_then(call: Call, service: Service, clip: Path) -> None:
    service.answer = lambda path, headers, body: (202, {"id": "job_1", "state": "queued"})
    states = [
        (503, {}),
        (200, {"state": "running", "progress": 0.5}),
        (200, {"state": "done", "result": {"result": "text"}}),
    ]
    service.asked = iter(states)
    outcome = call("transcribe", "--job", str(clip), "--url", service.url)
    assert (outcome.status, outcome.out) == (0, "text\n")
    assert (
        service.seen[0][0] == "/v1/jobs" and b'name="file"' in service.seen[0][2] and b"predict" in service.seen[0][2]
    )
    assert service.others == [("GET", "/v1/jobs/job_1")] * 3 + [("DELETE", "/v1/jobs/job_1")]


ID = "job_" + "0" * 32


@pytest.mark.parametrize(
    ("result", "out"),
    [({"result": "text", "segments": []}, "text\n"), ({"text": "five"}, "five\n"), ("1\n00:00\nfive\n\n", None)],
)
def test_a_job_that_was_sent_before_is_taken_up_by_its_id(
    call: Call, service: Service, result: object, out: str | None
) -> None:
    service.asked = iter([(200, {"state": "done", "result": result})])
    outcome = call("transcribe", "--resume", ID, "--url", service.url)
    assert (outcome.status, outcome.out) == (0, out or result)
    assert service.others == [("GET", f"/v1/jobs/{ID}"), ("DELETE", f"/v1/jobs/{ID}")]


@pytest.mark.parametrize(
    "arguments", [["--resume", "../x"], ["--resume", ID, "a.wav"], ["--resume", ID, "--format", "srt"], []]
)
def test_what_is_no_job_or_files_beside_one_is_bad_usage(call: Call, service: Service, arguments: list[str]) -> None:
    outcome = call("transcribe", *arguments, "--url", service.url)
    assert outcome.status == 2 and outcome.err.startswith("cannot ") and service.others == []


def test_a_job_whose_text_cannot_be_written_is_not_removed(
    call: Call, service: Service, clip: Path, tmp_path: Path
) -> None:
    service.answer = lambda path, headers, body: (202, {"id": "job_1", "state": "queued"})
    service.asked = iter([(200, {"state": "done", "result": {"result": "text"}})])
    out = tmp_path / "out"
    (out / f"{clip.stem}.txt" / "in the way").mkdir(parents=True)
    outcome = call("transcribe", "--job", str(clip), "--url", service.url, "--output", str(out))
    assert outcome.status == 1 and outcome.err.startswith("cannot write")
    assert service.others == [("GET", "/v1/jobs/job_1")]


def test_a_job_that_failed_is_refused_with_its_reason(call: Call, service: Service, clip: Path) -> None:
    service.answer = lambda path, headers, body: (202, {"id": "job_1", "state": "queued"})
    service.asked = iter([(200, {"state": "failed", "error": {"message": "cannot read the audio: it is damaged"}})])
    outcome = call("transcribe", "--job", str(clip), "--url", service.url)
    assert outcome.status == 1 and "it is damaged" in outcome.err and service.others[-1][0] == "DELETE"


def test_names_each_file_when_there_are_several_and_goes_on_after_a_bad_one(
    call: Call, service: Service, clip: Path
) -> None:
    bad = {
        "error": {"message": "cannot decode the audio: no such format\x1b[2J", "type": "invalid_request", "code": "x"}
    }

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        return (422, bad) if len(service.seen) == 2 else (200, {"result": "one two"})

    service.answer = answer
    outcome = call("transcribe", *[str(clip)] * 3, "/nonexistent.wav", "--url", service.url)
    assert outcome.status == 1
    assert outcome.out == f"{clip}: one two\n" * 2
    assert outcome.err.splitlines() == [
        f"cannot transcribe {clip}: cannot decode the audio: no such format?[2J",
        "cannot read /nonexistent.wav: No such file or directory",
    ]


def test_json_is_the_services_own(call: Call, service: Service, clip: Path) -> None:
    service.answer = lambda *seen: (200, b'{"result":  "\xe4\xb8\x80"}')
    assert call("transcribe", str(clip), "--url", service.url, "--json").out == '{"result":  "一"}\n'


def test_reads_an_answer_that_comes_before_the_upload_is_done(call: Call, service: Service, tmp_path: Path) -> None:
    big = tmp_path / "big.wav"
    with big.open("wb") as file:
        file.truncate(8 << 20)
    service.read_body = False
    service.answer = lambda *seen: (413, {"error": {"message": "at most 1 MiB"}})
    outcome = call("transcribe", str(big), "--url", service.url)
    # A server that closes with unread bytes may reset the connection and with it the answer.
    assert (outcome.status, outcome.err) == (1, f"cannot transcribe {big}: at most 1 MiB\n") or outcome.status == 3


def test_nobody_there_ends_with_3(call: Call, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWARD_URL", "http://127.0.0.1:9")
    outcome = call("transcribe", str(clip))
    assert outcome.status == 3
    assert re.match(r"cannot reach the service at 127\.0\.0\.1:9: .*refused", outcome.err)


def test_an_answer_without_json_is_a_failure(call: Call, service: Service, clip: Path) -> None:
    service.answer = lambda *seen: (502, b"<html>")
    outcome = call("transcribe", str(clip), "--url", service.url)
    assert (outcome.status, outcome.err) == (1, f"cannot transcribe {clip}: the service answered 502 and no JSON\n")


def test_refuses_what_is_no_file_without_waiting(call: Call, service: Service, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    outcome = call("transcribe", str(tmp_path / "fifo"), "--url", service.url)
    assert outcome.status == 1
    assert [line.rpartition(": ")[2] for line in outcome.err.splitlines()] == [
        "a FIFO, not a regular file",
    ]


def test_a_directory_without_audio_is_refused(call: Call, service: Service, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    outcome = call("transcribe", str(tmp_path), "--url", service.url)
    assert (outcome.status, outcome.err) == (1, f"cannot transcribe {tmp_path}: there is no audio in it\n")


def audio(tmp_path: Path, *names: str) -> Path:
    root = tmp_path / "clips"
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_a_directory_is_walked_through_in_the_order_of_names(call: Call, service: Service, tmp_path: Path) -> None:
    root = audio(tmp_path, "b.wav", "a.MP3", "notes.txt", "sub/c.flac", "录音.m4a")
    (root / "loop").symlink_to(root)
    outcome = call("transcribe", str(root), "--url", service.url)
    lines = [f"{root / name}: text {n}" for n, name in enumerate(("a.MP3", "b.wav", "录音.m4a", "sub/c.flac"), 1)]
    assert (outcome.status, outcome.out.splitlines()) == (0, lines)


def test_subtitles_are_asked_for_and_printed_as_they_are(call: Call, service: Service, clip: Path) -> None:
    srt = "1\n00:00:00,000 --> 00:00:01,000\none\n\n"
    service.answer = lambda *seen: (200, srt.encode())
    outcome = call("transcribe", str(clip), "--url", service.url, "--format", "srt")
    path, _, body = service.seen[0]
    assert (outcome.status, outcome.out, path) == (0, srt, "/v1/audio/transcriptions")
    assert b'name="response_format"\r\n\r\nsrt\r\n' in body and b'name="itn"\r\n\r\nfalse\r\n' in body
    assert b'name="file"; filename="clip%20one.wav"' in body


def test_the_texts_of_several_files_go_to_files(call: Call, service: Service, tmp_path: Path) -> None:
    root = audio(tmp_path, "a.wav", "sub/a.wav", "bad.wav")
    out = tmp_path / "out"

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        return (415, {"error": {"message": "no sound"}}) if b"bad.wav" in body else (200, b"WEBVTT\n")

    service.answer = answer
    outcome = call("transcribe", str(root), "--url", service.url, "--format", "vtt", "--output", str(out))
    assert (outcome.status, outcome.out.splitlines()) == (1, [str(out / "a.vtt"), str(out / "sub" / "a.vtt")])
    assert outcome.err == f"cannot transcribe {root / 'bad.wav'}: no sound\n"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == ["a.vtt", "sub/a.vtt"]
    assert (out / "a.vtt").read_text() == "WEBVTT\n"


def test_what_would_be_mixed_up_is_refused_before_anything_is_sent(
    call: Call, service: Service, tmp_path: Path
) -> None:
    root = audio(tmp_path, "a.wav", "a.mp3")
    for options, why in (
        (("--format", "srt"), "--output DIR"),
        (("--output", str(tmp_path / "out")), "to one file"),
        (("--json", "--format", "srt"), "at once"),
    ):
        outcome = call("transcribe", str(root), "--url", service.url, *options)
        assert outcome.status == 2 and why in outcome.err, outcome.err
    assert call("transcribe", "-", "-", "--url", service.url).status == 2
    assert service.seen == []


@pytest.mark.parametrize("regular", [True, False])
def test_standard_input_is_sent_as_it_comes(service: Service, clip: Path, regular: bool) -> None:
    command = [sys.executable, "-m", "modelward.daemon", "transcribe", "-", "--url", service.url]
    environ = {**os.environ, "PYTHONPATH": modules()}
    with clip.open("rb") as file:
        given = {"stdin": file} if regular else {"input": clip.read_bytes()}
        done = subprocess.run(command, env=environ, capture_output=True, timeout=PATIENCE_SECONDS, **given)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"text 1\n", b"")
    _, headers, body = service.seen[0]
    assert clip.read_bytes() in body and ("Content-Length" in headers) is regular


def test_progress_is_shown_on_a_terminal_alone_and_leaves_nothing(service: Service, tmp_path: Path) -> None:
    go = threading.Event()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        go.wait(PATIENCE_SECONDS)
        return 200, {"result": "text"}

    service.answer = answer
    clip = audio(tmp_path, "long.wav") / "long.wav"
    command = [sys.executable, "-m", "modelward.daemon", "transcribe", str(clip), "--url", service.url]
    environ = {**os.environ, "PYTHONPATH": modules(), "COLUMNS": "60"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"recognising" not in shown:
            shown += os.read(ours, 4096)
        go.set()
        assert process.stdout is not None and process.stdout.read() == b"text\n"
        with suppress(OSError):  # the other side is closed
            while more := os.read(ours, 4096):
                shown += more
        assert process.wait(PATIENCE_SECONDS) == 0
    os.close(ours)
    assert shown.endswith(b"\r\x1b[K") and b"long.wav" in shown
    assert max(len(line) for line in shown.replace(b"\x1b[K", b"").split(b"\r")) < 60


def test_sends_the_token_of_a_file(call: Call, service: Service, clip: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\nsecond\n")
    call("transcribe", str(clip), "--url", service.url + "/base/", "--token-file", str(token))
    path, headers, _body = service.seen[0]
    assert (path, headers["Authorization"]) == ("/base/api/predict", "Bearer s3cret")
    token.write_bytes(b"\xff\n")
    assert call("transcribe", str(clip), "--url", service.url, "--token-file", str(token)).status == 2
