"""One file over a bad connection: it continues, checks what came, and gives up in time."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from tests.daemon.fetch.conftest import AT_ONCE, FILES, MODEL
from tests.daemon.fetch.test_http_get import says
from tests.fakes.model_hub import ModelHub, git_digest, model_hub
from tests.support import eventually

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.download import Download, Pace, pause
from modelward.daemon.fetch.file_part import NOTE, PART, Downloaded, WantedFile
from modelward.daemon.fetch.http_get import HttpReader, HttpRules
from modelward.daemon.system.clock import SystemClock

SHA256 = hashlib.sha256(MODEL).hexdigest()
PATH = "/files/model_quant.onnx"


class Fetch:
    """A download into a directory."""

    def __init__(self, hub: ModelHub, directory: Path) -> None:
        self.hub, self.place = hub, directory / "model.onnx"
        self.reader = HttpReader(HttpRules())
        self.waits: list[str] = []

    def __call__(self, *, digest: str = SHA256, length: int = len(MODEL), pace: Pace = AT_ONCE) -> Downloaded:
        download = Download(self.reader, SystemClock(), pace=pace, retries=lambda why, seconds: self.waits.append(why))
        return download.fetch(WantedFile(self.hub.url + PATH, length, digest), self.place, self.place)

    @property
    def part(self) -> Path:
        return self.place.with_name(self.place.name + PART)

    def ranges(self) -> list[str]:
        return [headers.get("Range", "") for headers in self.hub.asked(PATH)]


@pytest.fixture
def fetch(hub: ModelHub, tmp_path: Path) -> Fetch:
    return Fetch(hub, tmp_path)


def test_a_file_comes_whole_and_a_second_fetch_asks_for_nothing(fetch: Fetch, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch() == Downloaded(len(MODEL), SHA256)
    assert fetch.place.read_bytes() == MODEL and fetch.ranges() == [""]
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", f"model.onnx{NOTE}"]


@pytest.mark.parametrize(
    ("faults", "ranges", "waits"),
    [
        (["cut:1000", "cut:2000"], ["", "bytes=1000-", "bytes=3000-"], ["ended after 1,000", "ended after 3,000"]),
        (["503", "429"], ["", "", ""], ["answered 503", "answered 429"]),
        (["cut:1000", "whole"], ["", "bytes=1000-"], ["ended after 1,000"]),
        (["cut:1000", "503"], ["", "bytes=1000-", "bytes=1000-"], ["ended", "answered 503"]),
        (["wrong"], ["", ""], ["its digest is"]),
        (["cut:1000", "wrong"], ["", "bytes=1000-", ""], ["ended", "its digest is"]),
    ],
)
def test_what_broke_continues_and_is_right_in_the_end(
    fetch: Fetch, faults: list[str], ranges: list[str], waits: list[str]
) -> None:
    fetch.hub.faults[PATH] = faults
    assert fetch() == Downloaded(len(MODEL), SHA256)
    assert fetch.place.read_bytes() == MODEL and fetch.ranges() == ranges
    assert len(fetch.waits) == len(waits) and all(a in b for a, b in zip(waits, fetch.waits, strict=True))


@pytest.mark.parametrize(
    ("faults", "because"),
    [
        (["503"] * 9, "the server answered 503; tried 4 times"),
        (["cut:0"] * 9, "ended after 0 of 640,000 bytes; tried 4 times"),
        (["wrong"] * 9, "its digest is .* and not .*; nothing of it was kept"),
        (["longer"], "sends 640,004 bytes, and 640,000 are promised"),
        (["endless"], "the server sends more than it promised"),
        (["gzip"], "sends it packed"),
        (["404"], "answered 404; there is no such file"),
        (["401"], "answered 401; only some users may have it"),
        (["418"], "answered 418"),
    ],
)
def test_what_cannot_come_is_given_up_with_its_reason(fetch: Fetch, faults: list[str], because: str) -> None:
    fetch.hub.faults[PATH] = faults * (4 if faults == ["longer"] else 1)
    with pytest.raises(Refused, match=because):
        fetch()
    assert not fetch.place.exists() and len(fetch.ranges()) <= 4


def test_a_file_without_a_length_needs_a_digest(fetch: Fetch) -> None:
    fetch.hub.faults[PATH] = ["unsized"] * 2
    with pytest.raises(Refused, match="gives no length, so that its end cannot be recognised"):
        fetch(digest="", length=-1)
    assert fetch(length=-1) == Downloaded(len(MODEL), SHA256)


def test_a_range_of_thousands_of_digits_is_none(fetch: Fetch) -> None:
    answer = b"HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/" + b"9" * 5000 + b"\r\n\r\nhello"
    with says(*[answer] * 4) as url, pytest.raises(Refused, match="sent another part than was requested; tried 4"):
        Download(fetch.reader, SystemClock(), pace=AT_ONCE).fetch(WantedFile(url, 5), fetch.place, fetch.place)


def test_tries_are_counted_without_progress_only(fetch: Fetch) -> None:
    fetch.hub.faults[PATH] = ["cut:50000"] * 12
    assert fetch() == Downloaded(len(MODEL), SHA256) and len(fetch.ranges()) == 13


@pytest.mark.parametrize("digest", [SHA256, git_digest(MODEL), ""])
def test_a_later_command_continues(fetch: Fetch, tmp_path: Path, digest: str) -> None:
    fetch.hub.faults[PATH] = ["cut:1000", *["503"] * 4]
    with pytest.raises(Refused, match="the same command continues"):
        fetch(digest=digest)
    assert fetch.part.stat().st_size == 1000
    later = Fetch(fetch.hub, tmp_path)
    assert later(digest=digest) == Downloaded(len(MODEL), SHA256)
    assert later.ranges()[-1] == "bytes=1000-"


def test_content_that_changed_between_two_tries_comes_anew(fetch: Fetch, tmp_path: Path) -> None:
    fetch.hub.faults[PATH] = ["cut:1000", *["503"] * 4]
    with pytest.raises(Refused):
        fetch(digest="", length=-1)
    changed = bytes(reversed(MODEL))
    fetch.hub.files["model_quant.onnx"] = changed
    assert Fetch(fetch.hub, tmp_path)(digest="", length=-1).sha256 == hashlib.sha256(changed).hexdigest()
    assert fetch.place.read_bytes() == changed


def test_a_complete_file_without_a_promise_is_kept_while_the_server_has_the_same(fetch: Fetch, tmp_path: Path) -> None:
    fetch(digest="", length=-1)
    assert Fetch(fetch.hub, tmp_path)(digest="", length=-1) == Downloaded(len(MODEL), SHA256)
    assert "If-None-Match" in fetch.hub.asked(PATH)[-1]
    fetch.hub.files["model_quant.onnx"] = b"new"
    assert Fetch(fetch.hub, tmp_path)(digest="", length=-1).bytes == 3


def test_a_part_of_another_content_is_not_continued(fetch: Fetch) -> None:
    fetch.hub.faults[PATH] = ["cut:1000", *["503"] * 4]
    with pytest.raises(Refused):
        fetch(digest="", length=-1)
    assert fetch() == Downloaded(len(MODEL), SHA256) and fetch.ranges()[-1] == ""


def test_a_part_that_is_longer_than_what_the_server_has_is_dropped(fetch: Fetch, tmp_path: Path) -> None:
    fetch.hub.faults[PATH] = ["cut:639000", *["503"] * 4]
    with pytest.raises(Refused):
        fetch(digest="", length=-1)
    fetch.hub.files["model_quant.onnx"] = b"short"
    assert Fetch(fetch.hub, tmp_path)(digest="", length=-1).bytes == 5


def test_an_empty_file_needs_no_request(fetch: Fetch) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    assert fetch(digest=empty, length=0) == Downloaded(0, empty) and fetch.hub.requests == []


def test_a_full_disk_ends_it_and_keeps_the_part(fetch: Fetch) -> None:
    def full(count: int) -> None:
        if fetch.part.stat().st_size >= 200_000:
            raise Refused("no room")

    download = Download(fetch.reader, SystemClock(), pace=AT_ONCE, may_write=full)
    with pytest.raises(Refused, match="no room"):
        download.fetch(WantedFile(fetch.hub.url + PATH, len(MODEL), SHA256), fetch.place, fetch.place)
    assert fetch.part.stat().st_size >= 200_000
    assert fetch() == Downloaded(len(MODEL), SHA256) and fetch.ranges()[-1].startswith("bytes=")


def test_another_thread_ends_it_while_it_waits_for_bytes(fetch: Fetch) -> None:
    fetch.hub.faults[PATH] = ["held"]
    found: list[BaseException] = []

    def work() -> None:
        try:
            fetch()
        except Refused as e:
            found.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: fetch.part.exists() and fetch.part.stat().st_size == len(MODEL) // 2)
    fetch.reader.stop()
    thread.join(300)
    assert "it was stopped" in str(found[0]) and fetch.part.stat().st_size == len(MODEL) // 2


def test_a_server_that_stands_still_is_asked_again(hub: ModelHub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path)
    fetch.reader = HttpReader(HttpRules(silent_seconds=0.05))
    hub.faults[PATH] = ["held"]
    assert fetch() == Downloaded(len(MODEL), SHA256)
    assert fetch.ranges() == ["", f"bytes={len(MODEL) // 2}-"] and "it sent nothing for too long" in fetch.waits[0]


def test_the_rate_is_kept(fetch: Fetch) -> None:
    """By the pauses that it makes, on a clock that stands still."""

    class Still(SystemClock):
        def monotonic(self) -> float:
            return 0.0

    asked: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            asked.append(timeout or 0.0)
            return False

    fetch.reader.stopped = Stopped()
    download = Download(fetch.reader, Still(), pace=Pace(rate_bytes=64_000))
    download.fetch(WantedFile(fetch.hub.url + PATH, len(MODEL), SHA256), fetch.place, fetch.place)
    assert asked[-1] == pytest.approx(10.0) and asked == sorted(asked)


def test_pauses_grow_to_a_limit_and_honour_the_server() -> None:
    pace = Pace(pause_seconds=1.0, longest_seconds=30.0)
    for failures, least, most in [(1, 0.5, 1.0), (3, 2.0, 4.0), (12, 15.0, 30.0)]:
        assert least <= pause(pace, failures, 0.0) <= most
    assert pause(pace, 1, 60.0) == 60.0 and pause(pace, 1, 9e9) == 300.0


def test_a_mirror_continues_what_another_began(fetch: Fetch, tmp_path: Path) -> None:
    fetch.hub.faults[PATH] = ["cut:1000", *["503"] * 4]
    with pytest.raises(Refused):
        fetch()
    with model_hub(FILES) as mirror:
        later = Fetch(mirror, tmp_path)
        assert later() == Downloaded(len(MODEL), SHA256) and later.ranges() == ["bytes=1000-"]
