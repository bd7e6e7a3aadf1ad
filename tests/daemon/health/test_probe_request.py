"""One probe against a service on a real port: what passes, and what fails and why."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.fakes.receivers import Posted, Reply, fake_receiver

from modelward.daemon.health.probe_clip import read_clip
from modelward.daemon.health.probe_record import ProbeAnswer, ProbeJob
from modelward.daemon.health.probe_request import MAX_ANSWER_BYTES, send_clip


def golden(directory: Path, **clips: str) -> str:
    directory.mkdir(exist_ok=True)
    for size, (name, text) in enumerate(clips.items(), 1):
        (directory / f"{name}.wav").write_bytes(b"RIFF" * size)
        (directory / f"{name}.txt").write_text(text, encoding="utf-8")
    return str(directory)


def job(port: int, *directories: str, **keys: object) -> ProbeJob:
    base = ProbeJob("127.0.0.1", port, seconds=60.0, max_error_rate=0.3, directories=directories)
    return replace(base, **keys) if keys else base


def probe(job: ProbeJob) -> ProbeAnswer:
    clip = read_clip(job)
    assert clip is not None
    return asyncio.run(send_clip(job, clip))


def says(text: str, status: int = 200) -> Reply:
    return Reply(status, json.dumps({"result": text}).encode(), (("X-Model-Version", "v1"),))


def test_the_smallest_clip_of_the_first_set_that_has_any_is_sent_with_the_token(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# of the service\nT0ken\nother\n")
    sets = (str(tmp_path / "none"), golden(tmp_path / "a", small="5 5 5", big="1234"), golden(tmp_path / "b", c="x"))
    with fake_receiver(says("555")) as service:
        answer = probe(job(service.port, *sets, token_file=str(tokens)))
    assert (answer.because, answer.off, answer.version) == ("", "", "v1") and answer.seconds > 0
    assert (answer.clip, answer.expected, answer.got) == ("small.wav", "5 5 5", "555")
    (post,) = service.posts
    assert post.path == "/api/predict" and post.headers["Authorization"] == "Bearer T0ken"
    assert b"\r\n\r\nRIFF\r\n--" in post.raw and post.headers["User-Agent"] == "modelward-probe"


@pytest.mark.parametrize(
    ("reply", "because"),
    [
        (says("123456"), "small.wav was heard as '123456', not '5551' (error rate"),
        (Reply(503, b'{"error": {"message": "no model is loaded"}}'), "it answered 503: no model is loaded"),
        (Reply(200, b"[]"), "its answer holds no text"),
        (Reply(200, b"<html>"), "its answer cannot be read"),
        (Reply(200, b"x" * MAX_ANSWER_BYTES), "its answer cannot be read"),
        (Reply(manner="rst"), "no connection: Connection reset by peer"),
    ],
)
def test_a_wrong_answer_says_what_was_wrong(tmp_path: Path, reply: Reply, because: str) -> None:
    with fake_receiver(reply) as service:
        assert because in probe(job(service.port, golden(tmp_path / "a", small="5551"))).because


def test_a_service_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with fake_receiver(Reply(manner="hang")) as service:
        answer = probe(job(service.port, golden(tmp_path / "a", small="5551"), seconds=0.5))
    assert answer.because == "no answer within 0.5 s"
    assert "Connection refused" in probe(job(9, golden(tmp_path / "a", small="5551"))).because


def test_a_clip_of_the_operators_may_bring_its_text_or_have_it_beside(tmp_path: Path) -> None:
    heard: list[Posted] = []

    def service_says(post: Posted) -> Reply:
        heard.append(post)
        return says("hello")

    directory = Path(golden(tmp_path / "a", clip="Hello!"))
    clip = str(directory / "clip.wav")
    with fake_receiver(service_says) as service:
        assert probe(job(service.port, clip=clip)).because == ""
        assert probe(job(service.port, clip=clip, text="good bye")).because != ""
