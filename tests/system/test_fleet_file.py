"""Machines that follow a record in a directory: no server and no feedback, and the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fleet_house import FILLER_BYTES, KEY, OTHER_KEY, asked, command, fleet_of, key_file, machine, version
from tests.house import House
from tests.support import eventually

from modelward.worker.shared.minisign_keys import public_line, secret_file
from modelward.worker.shared.signed_fields import MAX_SEQUENCE

pytestmark = pytest.mark.system


class Stick:
    """The directory of the record, a machine with the label canary, and another one."""

    def __init__(self, root: Path) -> None:
        self.site, self.key = root / "site", key_file(root)
        self.record = self.site / "record.json"
        first = version(self.site, "adder-v1", number=1.0)
        fleet: dict[str, object] = {"url": f"file://{self.record}"}
        checked: dict[str, object] = {"public_keys": [public_line(KEY.public)]}
        self.canary = machine(root, "canary-1", first, {"fleet": fleet | {"labels": ["canary"]}, "validation": checked})
        self.other = machine(root, "shop-1", first, {"fleet": fleet})
        self.machines = [self.canary, self.other]

    def fleet(self, *words: object) -> str:
        status, printed = command(*words, "--key", self.key, "--to", self.record)
        assert status == 0, printed
        return printed

    def await_all(self, name: str) -> None:
        for house in self.machines:
            eventually(lambda house=house: fleet_of(house)["outcome"] == "serving")
            house.await_serving(name)


def begun(house: House, name: str) -> bool:
    return (house.models / name).exists()


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stick]:
    stick = Stick(tmp_path_factory.mktemp("stick"))
    try:
        for house in stick.machines:
            house.start("adder-v1")
        yield stick
    finally:
        for house in stick.machines:
            house.close()


def test_a_version_reaches_all_and_an_old_record_does_not_bring_the_former_back(stick: Stick) -> None:
    assert all("record.json is not there" in fleet_of(house)["because"] for house in stick.machines)
    with asked(stick.machines):
        stick.fleet("publish", stick.site / "adder-v1", "--waves", "100%", "--pause", "0s")
        stick.await_all("adder-v1")
        old = stick.record.read_bytes()
        version(stick.site, "adder-v2", number=2.0)
        stick.fleet("publish", stick.site / "adder-v2", "--waves", "canary,100%", "--pause", "0s")
        stick.await_all("adder-v2")
        stick.record.write_bytes(old)
        for house in stick.machines:
            eventually(lambda house=house: "it is an old one" in fleet_of(house)["refused"])
        assert all(house.serves("adder-v2") for house in stick.machines)


def test_a_bad_version_stays_with_the_first_wave_for_as_long_as_the_signed_pause(stick: Stick) -> None:
    with asked(stick.machines):
        version(stick.site, "adder-v3", number=3.0, key=OTHER_KEY)
        stick.fleet("publish", stick.site / "adder-v3", "--waves", "canary,100%", "--pause", "1h", "--sequence", 10)
        eventually(lambda: fleet_of(stick.canary)["outcome"] == "failed")
        eventually(lambda: "wave 2 does not open before" in fleet_of(stick.other)["because"])
        assert stick.canary.serves("adder-v2") and not begun(stick.other, "adder-v3")
        stick.fleet("halt")
        eventually(lambda: "the record holds everything" in fleet_of(stick.other)["because"])


def test_a_daemon_that_is_killed_while_it_fetches_goes_on_where_it_was(stick: Stick) -> None:
    slow = stick.other
    slow.configure(fleet={"max_rate": "200KiB"})
    assert slow.cli("reload").returncode == 0
    with asked(stick.machines):
        version(stick.site, "adder-v4", number=4.0, filler=2 * FILLER_BYTES)
        stick.fleet("publish", stick.site / "adder-v4", "--waves", "100%", "--pause", "0s")
        eventually(lambda: fleet_of(slow)["fetched_bytes"] >= FILLER_BYTES)
        slow.kill()
        assert not begun(slow, "adder-v4")
        slow.configure(fleet={"max_rate": 0})
        slow.start()
        stick.await_all("adder-v4")
    assert not [path.name for path in slow.models.iterdir() if path.name.startswith(".fleet")]


def test_a_version_that_came_with_wrong_bytes_is_fetched_again_when_it_is_published_again(stick: Stick) -> None:
    with asked(stick.machines):
        made = version(stick.site, "adder-v5", number=5.0)
        good = (made / "filler.bin").read_bytes()
        (made / "filler.bin").write_bytes(bytes(len(good)))
        stick.fleet("publish", made, "--waves", "100%", "--pause", "0s")
        for house in stick.machines:
            eventually(lambda house=house: "other bytes than adder-v5 was signed with" in fleet_of(house)["because"])
        (made / "filler.bin").write_bytes(good)
        stick.fleet("publish", made, "--waves", "100%", "--pause", "0s")
        stick.await_all("adder-v5")


def test_when_a_stolen_key_is_removed_its_numbers_keep_no_other_record_away(stick: Stick) -> None:
    with asked(stick.machines):
        stick.fleet("publish", stick.site / "adder-v5", "--sequence", MAX_SEQUENCE, "--hold")
        for house in stick.machines:
            eventually(lambda house=house: fleet_of(house)["record"]["sequence"] == MAX_SEQUENCE)
            house.configure(fleet={"public_keys": [public_line(OTHER_KEY.public)]}, validation={"public_keys": []})
            assert house.cli("reload").returncode == 0
            eventually(lambda house=house: "the signature of the record is not good" in fleet_of(house)["refused"])
        stick.key.write_bytes(secret_file(OTHER_KEY))
        version(stick.site, "adder-v6", number=6.0, key=OTHER_KEY)
        stick.fleet("publish", stick.site / "adder-v6", "--waves", "100%", "--pause", "0s", "--sequence", 1)
        stick.await_all("adder-v6")
