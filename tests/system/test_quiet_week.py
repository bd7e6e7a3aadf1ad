"""A week of a whole daemon, its clock moved on: copies, updates, restarts, rotations, quiet nights, and one fault.

Whoever gets the alerts gets four messages in that week: the begin and the end of the fault, and of a copy that stopped.
A copy that pauses for less than `validation.alert_after` is no message. One that stops for longer may never go on: that
is one message, and its end tells that it arrived after all.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.clocked_daemon import Hands
from tests.fakes.receivers import FakeReceiver, fake_receiver
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
OUT_OF_REACH = [
    {"metric": f"{what}_used_percent", "above": 99.0, "for": "1d"} for what in ("cpu", "disk", "inode", "memory")
]
"""The machine that runs the tests may be as busy and as full as it likes."""
QUOTA = 100_000
ALERT_AFTER = HOUR


@dataclass
class Week:
    """The house, its clock, and who gets its alerts."""

    house: House
    hook: FakeReceiver
    hands: Hands
    passed: float = 0.0
    history: list[str] = field(default_factory=list)

    def start(self, version: str) -> None:
        """The daemon, once the machine was measured twice: a share of a processor needs two measurements."""
        self.house.start(version)
        shares = lambda: self.house.api.get("/v1/series").data["series"]["cpu_used_percent"]  # noqa: E731
        eventually(lambda: any(share is not None for share in shares()))

    def wait(self, seconds: float) -> None:
        """Time goes by, and a whole round was after that."""
        self.passed += seconds
        self.hands.want(self.passed)
        self.house.api.post("/v1/rescan")
        eventually(lambda: self.hands.ahead() == self.passed)

    def upkeep(self) -> None:
        """What the daemon does every minute of its own accord: rotation by age and size, a sweep."""
        self.house.command("rotate")
        self.house.command("sweep")

    def hours(self, count: int, *, at_once: int = 3) -> None:
        """Hours without anything but the daemon's own work, and a request now and then."""
        for _ in range(count // at_once):
            self.wait(at_once * HOUR)
        assert self.house.transcribe()[0] == 200
        self.upkeep()

    def night(self) -> None:
        """Eight hours in which nobody asks anything."""
        for _ in range(16):
            self.wait(HOUR / 2)
        self.upkeep()

    def copy(self, version: Path, *, pause: float, messages: int) -> None:
        """As over a slow line: file after file, each of them minutes in the making, and once nothing is copied.

        After the pause there were so many messages.
        """
        sources = sorted(path for path in version.rglob("*") if path.is_file())
        for number, source in enumerate(sources):
            if number == len(sources) // 2:
                for _ in range(4):
                    self.wait(pause / 4)
                eventually(lambda: len(self.hook.posts) >= messages)
                assert len(self.hook.posts) == messages, self.messages()
            target, data = self.house.models / source.relative_to(version.parent), source.read_bytes()
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                self.wait(10 * MINUTE)
                file.write(data[len(data) // 2 :])

    def messages(self) -> list[str]:
        return [post.json["message"] for post in self.hook.posts]


@pytest.fixture
def week(build: Build, tmp_path: Path) -> Iterator[Week]:
    with fake_receiver() as hook:
        uploads = {"name": "uploads", "path": str(tmp_path / "uploads"), "max_bytes": QUOTA}
        (tmp_path / "uploads").mkdir()
        house = build(
            workers={"count": 1},
            alerts={"to": [f"http://127.0.0.1:{hook.port}/x"]},
            monitor={"interval": 1, "alert": OUT_OF_REACH},
            validation={"alert_after": ALERT_AFTER},
            disk={"check": "1d", "min_free": 0, "target_free": 0, "class": [uploads]},
        )
        hands = tmp_path / "hands"
        house.module = ("tests.clocked_daemon", str(hands))
        yield Week(house, hook, Hands(hands))


@contextmanager
def held_open(path: Path) -> Iterator[None]:
    """An upload that a program does not let go of."""
    with open(path, "wb") as file:
        file.write(b"x" * 2 * QUOTA)
        file.flush()
        yield
    path.unlink()


def test_a_week_with_one_fault_and_one_copy_that_stops_is_four_messages(week: Week, tmp_path: Path) -> None:
    house = week.house
    good_version(house.models, "dtmf-v1.0")
    week.start("dtmf-v1.0")
    upload = tmp_path / "uploads" / "monday.wav"
    upload.write_bytes(b"x")
    week.night()
    # Tuesday: an update, copied file by file, with a pause
    week.copy(good_version(tmp_path / "new", "dtmf-v1.1", words=True), pause=ALERT_AFTER * 3 / 4, messages=0)
    house.await_serving("dtmf-v1.1")
    week.hours(12)
    # Wednesday: the daemon is restarted twice, once with its workers
    for number in (signal.SIGQUIT, signal.SIGTERM):
        assert house.process is not None
        house.process.send_signal(number)
        house.process.wait()
        week.start("dtmf-v1.1")
        week.hours(12)
    assert not upload.exists()
    # Thursday: the fault
    assert week.messages() == []
    with held_open(tmp_path / "uploads" / "held.wav"):
        week.wait(HOUR)
        week.upkeep()
        for _ in range(6):
            week.wait(30 * MINUTE)
        week.upkeep()
        eventually(lambda: len(week.hook.posts) == 1)
    week.upkeep()
    for _ in range(4):
        week.wait(30 * MINUTE)
    eventually(lambda: len(week.hook.posts) == 2)
    week.night()
    # Friday: every worker is replaced, and the version of before comes back
    house.command("restart")
    week.hours(12)
    house.command("rollback")
    house.await_serving("dtmf-v1.0")
    week.night()
    # Saturday: a copy stops for hours and goes on
    third = shutil.copytree(house.models / "dtmf-v1.1", tmp_path / "new/dtmf-v1.2")
    week.copy(third, pause=4 * ALERT_AFTER, messages=3)
    house.await_serving("dtmf-v1.2")
    while week.passed < 7 * DAY:
        week.hours(6)
    eventually(lambda: len(week.hook.posts) == 4)
    begun, ended, stopped, arrived = week.messages()
    assert "uploads" in begun and "uploads" in ended
    assert "dtmf-v1.2 was rejected" in stopped and "dtmf-v1.2 was rejected" in arrived and "(over: " in arrived
    titles = [post.json["title"] for post in week.hook.posts]
    assert [title.rpartition(" ")[2] for title in titles] == ["firing", "over"] * 2, titles
    assert len(house.history("upkeep-trouble")) == 1
    assert house.history("alert-firing") == []  # all that is neither upkeep's nor a rejection
    assert len(list(house.log_dir.glob("access.log.*"))) >= 5
