"""Five machines and a real NATS server: versions arrive wave by wave, and no trouble costs a request.

One fleet for all of the file; each test leaves it serving. The clock of one machine is a day late, that of another one
a day early, two are keepers, and one reaches the server over a road that can be cut.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.fleet.records import record
from tests.fleet_house import (
    FILLER_BYTES,
    KEY,
    OTHER_KEY,
    NatsServer,
    Road,
    asked,
    command,
    fleet_of,
    key_file,
    machine,
    named,
    version,
)
from tests.house import House
from tests.support import eventually

from modelward.daemon.cli.fleet_server import FleetPlace, on_server
from modelward.daemon.fleet.nats_engine import NatsEngine
from modelward.daemon.fleet.record import FleetWave
from modelward.daemon.fleet.signature import sign_record
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.units import DAY
from modelward.worker.shared.minisign_keys import public_line
from modelward.worker.shared.moments import moment_text

pytestmark = pytest.mark.system

FAKETIME = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")
CANARY = named(0, 50, 100)
EARLY, LATE, KEEPER, CUT = named(1, 0, 50), named(2, 50, 100), named(3, 0, 50), named(4, 50, 100)
ALL = [CANARY, EARLY, LATE, KEEPER, CUT]


class Fleet:
    """The server, the machines by name, and what an operator has."""

    def __init__(self, root: Path) -> None:
        self.root, self.site = root, root / "site"
        self.server = NatsServer(root / "nats")
        self.road = Road(self.server.port)
        self.key = key_file(root)
        self.operator = self.server.admit("operator", "operator")
        first = version(self.site, "adder-v1", number=1.0)
        self.houses = {name: self._machine(name, first) for name in ALL}
        self.server.start()

    def _machine(self, name: str, first: Path) -> House:
        keeper = name in (CANARY, KEEPER)
        url = f"nats://127.0.0.1:{self.road.port}" if name == CUT else self.server.url
        fleet: dict[str, object] = {
            "url": url,
            "credentials": str(self.server.admit(name, "keeper" if keeper else "machine")),
            "keeper": keeper,
            "labels": ["canary"] if name == CANARY else [],
        }
        settings = {"fleet": fleet}
        if name == CANARY:  # it alone requires signatures of versions: what others would take it rejects
            settings["validation"] = {"public_keys": [public_line(KEY.public)]}
        moved = {EARLY: "+1d", LATE: "-1d"}.get(name)
        prefix = (
            ("env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME={moved}", "FAKETIME_DONT_FAKE_MONOTONIC=1") if moved else ()
        )
        return machine(self.root, name, first, settings, prefix)

    @property
    def machines(self) -> list[House]:
        return list(self.houses.values())

    @property
    def access(self) -> tuple[object, ...]:
        return "--to", self.server.url, "--credentials", self.operator

    def drifted(self) -> list[str]:
        _, printed = command("drift", "--json", *self.access)
        return [machine["name"] for machine in json.loads(printed)]

    def alerts(self, name: str, metric: str) -> list[dict[str, Any]]:
        return [alert for alert in self.houses[name].status()["alerts"] if alert["metric"] == metric]

    def put_record(self, text: bytes) -> None:
        """As whoever holds the server does."""
        place = FleetPlace(self.server.url, str(self.operator))

        async def work(engine: NatsEngine) -> bool:
            return await engine.keep_record(text, (await engine.kept_record()).revision)

        assert on_server(place, work)

    def start(self) -> None:
        for number in range(0, len(ALL), 2):  # two at a time: the machine may be busy
            pair = self.machines[number : number + 2]
            for house in pair:
                house.start(wait=False)
            for house in pair:
                eventually(house.answers)
                house.await_serving("adder-v1")

    def publish(self, name: str, *words: object, **made: Any) -> str:
        directory = version(self.site, name, **made)
        return self.fleet("publish", directory, "--key", self.key, "--pause", "0s", *words)

    def fleet(self, *words: object) -> str:
        status, printed = command(*words, *self.access)
        assert status == 0, printed
        return printed

    def await_all(self, name: str, machines: list[str] = ALL) -> None:
        for each in machines:
            eventually(lambda each=each: fleet_of(self.houses[each])["outcome"] == "serving")
            self.houses[each].await_serving(name)

    def sequence(self) -> int:
        """The number of the record that is on the server."""
        found: int = json.loads(self.fleet("status", "--json"))["record"]["sequence"]
        return found

    def await_record(self, sequence: int) -> None:
        for house in self.machines:
            eventually(lambda house=house: fleet_of(house)["record"]["sequence"] == sequence)

    def opened(self) -> list[str]:
        """What keepers opened, the oldest first."""
        lines = [line for name in (CANARY, KEEPER) for line in self.houses[name].history("fleet-open")]
        return [line["because"] for line in sorted(lines, key=lambda line: str(line["time"]))]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if not FAKETIME:
        pytest.skip("no libfaketime here (apt install libfaketime)")
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.start()
        yield fleet
    finally:
        for house in fleet.houses.values():
            house.close()
        fleet.server.stop()


def test_a_version_reaches_all_wave_by_wave(fleet: Fleet) -> None:
    with asked(fleet.machines):
        printed = fleet.publish("adder-v2", "--waves", "canary,50%,100%", number=2.0)
        assert "record 1 wants adder-v2" in printed
        fleet.await_all("adder-v2")
        eventually(lambda: "the rollout is done" in fleet.fleet("status"))
    opened = fleet.opened()
    assert [text.partition(" of ")[0] for text in opened] == ["the first wave opens without a condition", "1", "2"]
    begun = {house.root.name: house.history("fleet-fetched")[0]["id"] for house in fleet.machines}
    assert begun.keys() == set(ALL)
    status = json.loads(fleet.fleet("status", "--json"))
    assert status["overview"]["versions"] == {"adder-v2": 5}
    assert [wave["serving"] for wave in status["overview"]["waves"]] == [1, 2, 2]


def test_a_version_that_is_bad_for_one_label_halts_at_its_wave_and_all_go_back(fleet: Fleet) -> None:
    with asked(fleet.machines):
        fleet.publish("adder-v3", "--waves", "canary,100%", number=3.0, key=OTHER_KEY)
        eventually(lambda: "the rollout is halted" in fleet.fleet("status"))
        status = fleet.fleet("status")
        assert "1 machine failed, at most 0 may" in status and "is not among" in status and CANARY in status
        others = [house for house in fleet.machines if house.root.name != CANARY]
        assert not [house for house in others if (house.models / "adder-v3").exists()]
        assert not [house for house in others if house.history("fleet-fetched")[0]["version"] == "adder-v3"]
        eventually(lambda: fleet.alerts(CANARY, "fleet_halted") or fleet.alerts(KEEPER, "fleet_halted"))
        assert "wants adder-v2" in fleet.fleet("back", "--key", fleet.key)
        fleet.await_all("adder-v2")
        eventually(lambda: "the rollout is done" in fleet.fleet("status"))
    assert fleet.drifted() == []


def test_a_machine_that_was_away_for_two_versions_takes_the_last_only(fleet: Fleet) -> None:
    cut = fleet.houses[CUT]
    with asked(fleet.machines), fleet.road.closed():
        fleet.publish("adder-v4", "--waves", "canary", number=4.0)
        fleet.await_all("adder-v4", [CANARY])
        fleet.publish("adder-v5", "--waves", "canary,100%", number=5.0)
        fleet.await_all("adder-v5", [name for name in ALL if name != CUT])
        assert fleet_of(cut)["away"] and not cut.serves("adder-v5")
    with asked(fleet.machines):
        fleet.await_all("adder-v5")
    assert not (cut.models / "adder-v4").exists()


def test_a_server_that_hangs_restarts_or_loses_all_costs_nothing(fleet: Fleet) -> None:
    last = fleet.sequence()
    with asked(fleet.machines):
        fleet.server.signal(signal.SIGSTOP)
        for house in fleet.machines:
            eventually(lambda house=house: fleet_of(house)["away"])
        fleet.server.stop()
        fleet.server.start()
        for house in fleet.machines:
            eventually(lambda house=house: not fleet_of(house)["away"])
        assert all(fleet_of(house)["outcome"] == "serving" for house in fleet.machines)
        fleet.server.stop()
        fleet.server.lose_storage()
        fleet.server.start()
        again = "publish", fleet.site / "adder-v5", "--key", fleet.key, "--waves", "100%"
        assert "record 1 wants adder-v5" in fleet.fleet(*again)  # nothing is left that knows better
        eventually(lambda: all("it is an old one" in fleet_of(house)["refused"] for house in fleet.machines))
        eventually(lambda: json.loads(fleet.fleet("status", "--json"))["overview"]["total"] == len(ALL))
        status, printed = command(*again, *fleet.access)
        assert status == 1 and f"{len(ALL)} machines report that they follow a higher number" in printed, printed
        assert f"record {last + 1} wants adder-v5" in fleet.fleet(*again, "--sequence", last + 1)
        fleet.await_record(last + 1)
        eventually(lambda: "the rollout is done" in fleet.fleet("status"))


def test_records_that_are_old_ended_or_of_another_key_change_nothing(fleet: Fleet) -> None:
    last = fleet.sequence()
    now = SystemClock().wall()
    good = dict(
        version="adder-v9", sequence=last + 1, issued=moment_text(now - 3 * DAY), expires=moment_text(now + 30 * DAY),
        waves=(FleetWave(percent=100.0),),
    )  # fmt: skip
    bad = {
        "it is an old one": sign_record(record(**good | {"sequence": last - 1}), KEY),
        "ended at": sign_record(record(**good | {"expires": moment_text(now - 2 * DAY)}), KEY),
        "the signature of the record is not good": sign_record(record(**good), OTHER_KEY),
        f"two different records with the number {last}": sign_record(record(**good | {"sequence": last}), KEY),
    }
    with asked(fleet.machines):
        for because, text in bad.items():
            fleet.put_record(text)
            for house in fleet.machines:
                eventually(lambda house=house, because=because: because in fleet_of(house)["refused"])
        assert all(fleet_of(house)["record"]["sequence"] == last for house in fleet.machines)
        assert all(house.serves("adder-v5") for house in fleet.machines)
        fleet.put_record(b"no record")
        fleet.fleet("publish", fleet.site / "adder-v5", "--key", fleet.key, "--sequence", last + 1)
        eventually(lambda: not any(fleet_of(house)["refused"] for house in fleet.machines))


def test_a_full_disk_blocks_one_machine_and_it_follows_when_there_is_room(fleet: Fleet) -> None:
    full = fleet.houses[EARLY]
    full.configure(disk={"min_free": "1000TB"})
    assert full.cli("reload").returncode == 0
    with asked(fleet.machines):
        fleet.publish("adder-v10", "--waves", "canary,100%", number=10.0)
        fleet.await_all("adder-v10", [name for name in ALL if name != EARLY])
        eventually(lambda: fleet_of(full)["outcome"] == "blocked")
        assert "no room for adder-v10" in fleet_of(full)["because"]
        assert full.serves("adder-v5") and not (full.models / "adder-v10").exists()
        status = fleet.fleet("status")
        assert EARLY in status and "no room" in status
        assert command("drift", *fleet.access)[0] == 1
        full.configure()
        assert full.cli("reload").returncode == 0
        fleet.await_all("adder-v10")
    assert fleet.drifted() == []


def test_what_an_operator_chose_on_one_machine_is_reported_and_not_undone(fleet: Fleet) -> None:
    chosen = fleet.houses[LATE]
    chosen.command("activate", version="adder-v5")
    eventually(lambda: fleet_of(chosen)["outcome"] == "drifted")
    eventually(lambda: fleet.drifted() == [LATE])
    assert chosen.serves("adder-v5")
    chosen.command("activate", version="adder-v10")
    eventually(lambda: fleet.drifted() == [])


def test_a_daemon_that_is_killed_while_it_fetches_goes_on_where_it_was(fleet: Fleet) -> None:
    slow = fleet.houses[CUT]
    slow.configure(fleet={"max_rate": "200KiB"})
    assert slow.cli("reload").returncode == 0
    with asked(fleet.machines):
        fleet.publish("adder-v11", "--waves", "100%", number=11.0)
        eventually(lambda: fleet_of(slow)["fetched_bytes"] > FILLER_BYTES // 3)
        slow.kill()
        assert not (slow.models / "adder-v11").exists()
        slow.start()
        eventually(lambda: fleet_of(slow)["fetched_bytes"] > FILLER_BYTES // 3)
        fleet.await_all("adder-v11")
    assert [p.name for p in slow.models.iterdir() if p.name.startswith(".fleet")] == []
