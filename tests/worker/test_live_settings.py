"""A running worker follows each setting that it can take up, from its word `applied` on."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from tests import asking
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.running import (
    Worker,
    clip,
    digits,
    worker,
)

from modelward.worker import protocol as p
from modelward.worker.settings import LIVE, Terms

pytestmark = pytest.mark.system

TOKEN = "secret"
CLIP = "0123456789"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    directory = tmp_path_factory.mktemp("live")
    (directory / "jobs").mkdir()
    with worker(directory, digits(), jobs_dir=str(directory / "jobs")) as one:
        (one.runtime / "tokens").write_text(TOKEN)
        yield one


def _apply(running: Worker, **changes: Any) -> Terms:
    """The worker's settings with these changes, once it has said that they hold."""
    count = len(running.daemon.told(p.Applied))
    running.daemon.say(p.Settings(msgspec.structs.replace(running.settings.terms(), **changes)))
    return running.daemon.wait_for(p.Applied, count + 1, PATIENCE_SECONDS).terms


def _status(running: Worker, **headers: str) -> int:
    with asking.client(base_url=running.url) as client:
        return client.post("/api/predict", files={"audio": ("c.wav", clip(CLIP))}, headers=headers).status_code


def _dripping(running: Worker) -> contextlib.closing[socket.socket]:
    """A connection with a request whose body does not come."""
    connection = socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), PATIENCE_SECONDS)
    head = ("POST /api/predict HTTP/1.1", "Host: here", "Content-Type: audio/wav", "Content-Length: 9")
    connection.sendall("\r\n".join((*head, "", "")).encode())
    return contextlib.closing(connection)


def _tokens(running: Worker) -> None:
    assert _status(running) == 200
    _apply(running, token_file=str(running.runtime / "tokens"))
    assert _status(running) == 401
    assert _status(running, authorization=f"Bearer {TOKEN}") == 200


def _queue(running: Worker) -> None:
    _apply(running, queue=7)
    assert 'modelward_worker_queue_limit{worker="w1"} 7\n' in asking.get(running.url + "/metrics").text


def _max_upload(running: Worker) -> None:
    _apply(running, max_upload_bytes=2048)
    assert _status(running) == 413


def _max_audio(running: Worker) -> None:
    _apply(running, max_audio_seconds=1.0)
    assert 400 <= _status(running) < 500


def _speech_trim(running: Worker) -> None:
    """A clip with a silence in its middle is one segment, or two."""
    sound = np.frombuffer(clip("5551234")[44:], "<i2")
    halves = np.concatenate([sound, np.zeros(16_000 * 4, np.int16), sound])
    made = io.BytesIO()
    soundfile.write(made, halves, 16_000, format="WAV")

    def segments() -> list[str]:
        with running.client() as client:
            return [segment["text"] for segment in running.predict(client, made.getvalue()).json()["segments"]]

    assert segments() == ["55512345551234"]
    _apply(running, speech_trim="silence")
    assert segments() == ["5551234", "5551234"]


def _request_timeout(running: Worker) -> None:
    _apply(running, request_timeout_seconds=1.0, min_upload_rate=0)
    with _dripping(running) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def _min_upload_rate(running: Worker) -> None:
    _apply(running, min_upload_rate=1 << 30, request_timeout_seconds=PATIENCE_SECONDS)
    with _dripping(running) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def _log_level(running: Worker) -> None:
    debug = running.logs / "debug.log"
    assert _status(running) == 200
    assert not debug.exists()
    _apply(running, log_level="debug")
    assert _status(running) == 200
    eventually(lambda: debug.stat().st_size > 0)
    _apply(running, log_level="error")
    before = debug.stat().st_size, (running.logs / "modelward.log").stat().st_size
    assert _status(running) == 200
    _apply(running, log_level="error", queue=5)
    assert (debug.stat().st_size, (running.logs / "modelward.log").stat().st_size) == before


def _model_aliases(running: Worker) -> None:
    assert _model_status(running, "our-asr") == 404
    _apply(running, model_aliases=("our-asr",))
    assert _model_status(running, "our-asr") == 200


def _model_status(running: Worker, name: str) -> int:
    return asking.get(f"{running.url}/v1/models/{name}").status_code


def _cors_origins(running: Worker) -> None:
    def allowed() -> str:
        answer = asking.get(running.url + "/health", headers={"origin": "https://app.example.org"})
        return answer.headers.get("access-control-allow-origin", "")

    assert allowed() == ""
    _apply(running, cors_origins=("https://app.example.org",))
    assert allowed() == "https://app.example.org"


def _base_path(running: Worker) -> None:
    assert asking.get(running.url + "/asr/health").status_code == 404
    _apply(running, base_path="/asr")
    assert asking.get(running.url + "/asr/health").status_code == 200
    sent = asking.post(running.url + "/asr/v1/jobs", files={"file": ("c.wav", clip(CLIP))})
    assert sent.headers["location"] == f"/asr/v1/jobs/{sent.json()['id']}"


def _trusted_proxies(running: Worker) -> None:
    def logged() -> str:
        seen = len(running.lines("access.log"))
        asking.get(running.url + "/health", headers={"x-forwarded-for": "203.0.113.7"})
        return str(eventually(lambda: running.lines("access.log")[seen:])[-1]["client"])

    assert logged() == "127.0.0.1"
    _apply(running, trusted_proxies=("127.0.0.1",))
    assert logged() == "203.0.113.7"


def _job(running: Worker, **fields: str) -> int:
    form = {"files": {"file": ("c.wav", clip(CLIP))}, "data": fields}
    return asking.post(running.url + "/v1/jobs", **form).status_code


def _jobs_keep(running: Worker) -> None:
    with asking.client(base_url=running.url) as client:
        job = client.post("/v1/jobs", files={"file": ("c.wav", clip(CLIP))}).json()["id"]
        shown = eventually(lambda: (found := client.get(f"/v1/jobs/{job}").json())["state"] == "done" and found)
        _apply(running, jobs_keep_seconds=60.0)
        assert client.get(f"/v1/jobs/{job}").json()["expires"] < shown["expires"]


def _jobs_max(running: Worker) -> None:
    assert _job(running) == 202
    _apply(running, jobs_max_jobs=1)
    assert _job(running) == 503


def _jobs_max_bytes(running: Worker) -> None:
    _apply(running, jobs_max_bytes=1000)
    assert _job(running) == 503


def _jobs_callbacks(running: Worker) -> None:
    assert _job(running, callback="https://example.org/x") == 400
    _apply(running, jobs_callbacks=("https://example.org/",))
    assert _job(running, callback="https://example.org/x") == 202


def _min_free(running: Worker) -> None:
    _apply(running, min_free=(0, 1.0))
    assert _job(running) == 507


CHECKS: dict[str, Callable[[Worker], None]] = {
    "token_file": _tokens,
    "queue": _queue,
    "max_upload_bytes": _max_upload,
    "max_audio_seconds": _max_audio,
    "speech_trim": _speech_trim,
    "request_timeout_seconds": _request_timeout,
    "min_upload_rate": _min_upload_rate,
    "model_aliases": _model_aliases,
    "cors_origins": _cors_origins,
    "base_path": _base_path,
    "trusted_proxies": _trusted_proxies,
    "log_level": _log_level,
    "jobs_keep_seconds": _jobs_keep,
    "jobs_max_jobs": _jobs_max,
    "jobs_max_bytes": _jobs_max_bytes,
    "jobs_callbacks": _jobs_callbacks,
    "min_free": _min_free,
}


@pytest.mark.parametrize("name", [name for name in LIVE if name != "drain_seconds"])
def test_each_setting_that_a_worker_can_take_up_holds_when_it_says_so(shared: Worker, name: str) -> None:
    try:
        CHECKS[name](shared)
    finally:
        assert _apply(shared) == shared.settings.terms()
    assert _status(shared) == 200


def test_the_time_to_drain_is_the_one_that_was_said_last(tmp_path: Path) -> None:
    with worker(tmp_path, digits(), drain_seconds=PATIENCE_SECONDS * 4) as running:
        _apply(running, drain_seconds=0.0)
        with _dripping(running) as connection:
            eventually(lambda: any(beat.inflight for beat in running.daemon.told(p.Beat)))
            running.daemon.say(p.Drain())
            assert running.process.wait(PATIENCE_SECONDS) == 0
            with contextlib.suppress(ConnectionError):
                connection.recv(1)


def test_what_it_cannot_take_up_it_does_not_claim(shared: Worker) -> None:
    try:
        assert _apply(shared, threads=9, listen="127.0.0.1:1", queue=9) == msgspec.structs.replace(
            shared.settings.terms(), queue=9
        )
    finally:
        _apply(shared)


def test_says_in_its_hello_what_it_runs_with_now(tmp_path: Path) -> None:
    with worker(tmp_path, digits()) as running:
        assert running.daemon.wait_for(p.Hello).terms == running.settings.terms()
        _apply(running, queue=11)
        running.daemon.say_bytes(b"no message\n")  # it joins anew
        again = running.daemon.wait_for(p.Hello, 2)
        assert again.terms == msgspec.structs.replace(running.settings.terms(), queue=11)
