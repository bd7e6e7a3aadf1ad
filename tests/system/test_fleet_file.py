"""Five machines that follow a record in a directory, two of them by https: no feedback, and the same promises.

One fleet for all of the file; each test leaves it serving. What is promised whatever carries the record is in
tests/fleet_promises.py; here is what waves by time, a stick and a web server add.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fakes.certificates import server_context
from tests.fakes.https_site import HttpsSite
from tests.fleet_house import OTHER_KEY, asked, fleet_of
from tests.fleet_of_eight import CANARY, CUT, PLAIN, Fleet
from tests.fleet_promises import (  # noqa: F401  # they run here
    test_a_daemon_that_is_killed_at_ten_moments_of_a_fetch_goes_on_where_it_was,
    test_a_full_disk_ends_a_fetch_and_it_goes_on_when_there_is_room,
    test_a_machine_that_was_away_for_two_versions_takes_the_last_only,
    test_a_version_reaches_all_wave_by_wave_and_none_before_the_signed_pauses,
    test_all_go_back_to_the_version_before_and_stay_there,
    test_an_older_version_that_a_machine_never_had_is_served_where_the_record_wants_it,
    test_records_that_are_old_ended_or_of_another_key_change_nothing,
)
from tests.support import eventually

from modelward.worker.shared.minisign_keys import public_line, secret_file
from modelward.worker.shared.signed_fields import MAX_SEQUENCE

pytestmark = pytest.mark.system


class FileFleet(Fleet):
    """The directory of the record, and two web servers in front of it: one for CUT alone."""

    def __init__(self, root: Path) -> None:
        tls, self._authority = server_context(root)
        (root / "site").mkdir()
        self.web, self.road = HttpsSite(root / "site", tls), HttpsSite(root / "site", tls)
        for site in (self.web, self.road):
            site.start()
        self.file = root / "site/record.json"
        super().__init__(root)

    def followed(self, name: str) -> dict[str, object]:
        if name not in (CUT, PLAIN):
            return {"url": f"file://{self.file}"}
        site = self.road if name == CUT else self.web
        return {"url": f"{site.url}record.json", "ca_file": str(self._authority)}

    @property
    def access(self) -> tuple[object, ...]:
        return "--to", self.file

    def put_record(self, text: bytes) -> None:
        beside = self.file.with_name("new")
        beside.write_bytes(text)
        beside.replace(self.file)

    def record_text(self) -> bytes:
        return self.file.read_bytes()

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        self.road.stop()
        try:
            yield
        finally:
            self.road.start()

    def back(self, version: str) -> None:
        self.publish(version, "canary,auto")

    def close(self) -> None:
        super().close()
        for site in (self.web, self.road):
            site.stop()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileFleet]:
    fleet = FileFleet(tmp_path_factory.mktemp("stick"))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()


def test_a_bad_version_stays_with_the_first_wave_for_as_long_as_the_signed_pause(fleet: FileFleet) -> None:
    before = fleet.serving(CANARY)
    with asked(fleet.machines):
        bad = fleet.published("canary,plain", "--pause", "1h", key=OTHER_KEY)
        eventually(lambda: fleet_of(fleet.houses[CANARY])["outcome"] == "failed")
        fleet.await_because(PLAIN, "wave 2 does not open before")
        assert fleet.houses[CANARY].serves(before) and not fleet.has(PLAIN, bad)
        fleet.fleet("halt", "--key", fleet.key)
        fleet.await_because(PLAIN, "the record holds everything")
        fleet.publish(before, "canary,plain")
        fleet.await_all(before, [CANARY, PLAIN])


def test_a_web_server_that_hangs_breaks_off_restarts_fails_or_sends_too_much_costs_nothing(fleet: FileFleet) -> None:
    machine = fleet.houses[CUT]
    with asked(fleet.machines):
        fleet.road.faults.extend(["error", "cut", "hangs"])
        name = fleet.published("cut")
        eventually(fleet.road.hanging.is_set)  # the first two are over
        assert not fleet.road.faults and not fleet.has(CUT, name)
        assert fleet_of(machine)["outcome"] == "fetching"
        fleet.road.stop()
        eventually(lambda: fleet_of(machine)["away"])
        fleet.road.faults.append("more")
        fleet.road.start()
        fleet.await_because(CUT, "has more bytes than")
        assert not fleet.has(CUT, name)
        fleet.publish(name, "cut")  # or the machine would wait for some minutes
        fleet.await_all(name, [CUT])
    reasons = [event["because"] for event in machine.events() if event["event"] == "fleet fetch failed"]
    assert "answered 500" in reasons[0] and "cut off" in reasons[1], reasons


def test_a_record_that_is_gone_changes_nothing_and_a_web_server_without_it_counts_as_away(fleet: FileFleet) -> None:
    serving, text = {name: fleet.serving(name) for name in fleet.houses}, fleet.record_text()
    with asked(fleet.machines):
        fleet.file.unlink()
        for name in (CUT, PLAIN):
            eventually(lambda name=name: "record.json is not there" in fleet_of(fleet.houses[name])["away"])
        assert all(fleet.houses[name].serves(version) for name, version in serving.items())
        fleet.put_record(text)
        eventually(lambda: not any(fleet_of(house)["away"] for house in fleet.machines))


def test_a_version_that_came_with_wrong_bytes_is_fetched_again_when_it_is_published_again(fleet: FileFleet) -> None:
    with asked(fleet.machines):
        name = fleet.make()
        filler = fleet.site / name / "filler.bin"
        good = filler.read_bytes()
        filler.write_bytes(bytes(len(good)))
        fleet.publish(name, "canary,plain")
        for machine in (CANARY, PLAIN):
            fleet.await_because(machine, f"other bytes than {name} was signed with")
        filler.write_bytes(good)
        fleet.publish(name, "canary,plain")
        fleet.await_all(name, [CANARY, PLAIN])


def test_when_a_stolen_key_is_removed_its_numbers_keep_no_other_record_away(fleet: FileFleet) -> None:
    two = [CUT, PLAIN]  # the last test here: all others follow the number of the stolen key for ever
    with asked(fleet.machines):
        fleet.publish(fleet.record().version, "100%", "--sequence", MAX_SEQUENCE, "--hold")
        for name in two:
            house = fleet.houses[name]
            eventually(lambda house=house: fleet_of(house)["record"]["sequence"] == MAX_SEQUENCE)
            fleet.change(name, fleet={"public_keys": [public_line(OTHER_KEY.public)]})
        fleet.await_refused("the signature of the record is not good", two)
        fleet.key.write_bytes(secret_file(OTHER_KEY))
        version = fleet.published("cut,plain", "--sequence", 1, key=OTHER_KEY)
        fleet.await_all(version, two)
