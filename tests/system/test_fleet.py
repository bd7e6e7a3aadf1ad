"""Five machines and a real NATS server: versions arrive wave by wave, and no trouble costs a request.

One fleet for all of the file; each test leaves it serving. What is promised whatever carries the record is in
tests/fleet_promises.py; here is what reports and keepers add.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.fleet_house import OTHER_KEY, NatsServer, Road, asked, command, fleet_of
from tests.fleet_of_eight import ALL, AUTO, CANARY, CUT, KEEPER, PLAIN, Fleet
from tests.fleet_promises import (  # noqa: F401  # they run here
    test_a_daemon_that_is_killed_at_ten_moments_of_a_fetch_goes_on_where_it_was,
    test_a_full_disk_ends_a_fetch_and_it_goes_on_when_there_is_room,
    test_a_machine_that_was_away_for_two_versions_takes_the_last_only,
    test_a_version_reaches_all_wave_by_wave_and_none_before_the_signed_pauses,
    test_all_go_back_to_the_version_before_and_stay_there,
    test_records_that_are_old_ended_or_of_another_key_change_nothing,
)
from tests.support import eventually

from modelward.daemon.cli.fleet_server import FleetPlace, on_server
from modelward.daemon.fleet.nats_engine import NatsEngine

pytestmark = pytest.mark.system


class NatsFleet(Fleet):
    """The server, and what an operator has. Two machines are keepers; CUT has a road of its own to the server."""

    def __init__(self, root: Path) -> None:
        self.server = NatsServer(root / "nats")
        self.road = Road(self.server.port)
        self.operator = self.server.admit("operator", "operator")
        super().__init__(root)
        self.server.start()

    def followed(self, name: str) -> dict[str, object]:
        keeper = name in (CANARY, KEEPER)
        return {
            "url": f"nats://127.0.0.1:{self.road.port}" if name == CUT else self.server.url,
            "credentials": str(self.server.admit(name, "keeper" if keeper else "machine")),
            "keeper": keeper,
        }

    @property
    def access(self) -> tuple[object, ...]:
        return "--to", self.server.url, "--credentials", self.operator

    @property
    def _place(self) -> FleetPlace:
        return FleetPlace(self.server.url, str(self.operator))

    def put_record(self, text: bytes) -> None:
        async def work(engine: NatsEngine) -> bool:
            return await engine.keep_record(text, (await engine.kept_record()).revision)

        assert on_server(self._place, work)

    def record_text(self) -> bytes:
        return on_server(self._place, lambda engine: engine.record())

    def cut_off(self) -> AbstractContextManager[object]:
        return self.road.closed()

    def back(self, version: str) -> None:
        assert f"wants {version}" in self.fleet("back", "--key", self.key)

    def close(self) -> None:
        super().close()
        self.server.stop()

    # what reports show

    def drifted(self) -> list[str]:
        _, printed = command("drift", "--json", *self.access)
        return [machine["name"] for machine in json.loads(printed)]

    def alerts(self, name: str, metric: str) -> list[dict[str, Any]]:
        return [alert for alert in self.houses[name].status()["alerts"] if alert["metric"] == metric]

    def await_done(self) -> None:
        eventually(lambda: "the rollout is done" in self.fleet("status"))

    def opened(self, version: str) -> list[str]:
        """What keepers opened for this version, the oldest first."""
        lines = [line for name in (CANARY, KEEPER) for line in self.houses[name].history("fleet-open")]
        of_version = [line for line in lines if line["version"] == version]
        return [line["because"] for line in sorted(of_version, key=lambda line: str(line["time"]))]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsFleet]:
    fleet = NatsFleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()


def test_a_wave_opens_when_the_one_before_succeeded(fleet: NatsFleet) -> None:
    with asked(fleet.machines):
        name = fleet.published("canary,50%,100%")
        fleet.await_all(name)
        fleet.await_done()
    opened = fleet.opened(name)
    assert [text.partition(" of ")[0] for text in opened] == ["the first wave opens without a condition", "1", "2"]
    status = json.loads(fleet.fleet("status", "--json"))
    assert status["overview"]["versions"] == {name: len(ALL)}
    assert [wave["serving"] for wave in status["overview"]["waves"]] == [1, 2, 5]


def test_a_version_that_is_bad_for_one_label_halts_at_its_wave_and_all_go_back(fleet: NatsFleet) -> None:
    before = fleet.record().version
    with asked(fleet.machines):
        bad = fleet.published("canary,100%", key=OTHER_KEY)
        eventually(lambda: "the rollout is halted" in fleet.fleet("status"))
        status = fleet.fleet("status")
        assert "1 machine failed, at most 0 may" in status and "is not among" in status and CANARY in status
        assert not [name for name in ALL if name != CANARY and fleet.has(name, bad)]
        eventually(lambda: fleet.alerts(CANARY, "fleet_halted") or fleet.alerts(KEEPER, "fleet_halted"))
        fleet.back(before)
        fleet.await_all(before)
        fleet.await_done()
    assert fleet.drifted() == []


def test_a_server_that_hangs_restarts_or_loses_all_costs_nothing(fleet: NatsFleet) -> None:
    last = fleet.record()
    with asked(fleet.machines):
        fleet.server.signal(signal.SIGSTOP)
        for house in fleet.machines:
            eventually(lambda house=house: fleet_of(house)["away"])
        fleet.server.stop()
        fleet.server.start()
        for house in fleet.machines:
            eventually(lambda house=house: not fleet_of(house)["away"])
        assert all(fleet.serves(name, last.version) for name in ALL)
        fleet.server.stop()
        fleet.server.lose_storage()
        fleet.server.start()
        assert f"record 1 wants {last.version}" in fleet.publish(
            last.version, "100%"
        )  # nothing is left that knows better
        fleet.await_refused("it is an old one")
        eventually(lambda: json.loads(fleet.fleet("status", "--json"))["overview"]["total"] == len(ALL))
        again = "publish", fleet.site / last.version, "--key", fleet.key, "--waves", "100%", "--pause", "0s"
        status, printed = command(*again, *fleet.access)
        assert status == 1 and f"{len(ALL)} machines report that they follow a higher number" in printed, printed
        printed = fleet.publish(last.version, "100%", "--sequence", last.sequence + 1)
        assert f"record {last.sequence + 1} wants {last.version}" in printed
        fleet.await_all(last.version)
        fleet.await_done()


def test_a_machine_without_room_is_shown_and_drifts(fleet: NatsFleet) -> None:
    before = fleet.serving(PLAIN)
    fleet.change(PLAIN, disk={"min_free": "1000TB"})
    with asked(fleet.machines):
        name = fleet.published("plain")
        fleet.await_because(PLAIN, f"no room for {name}")
        eventually(lambda: "no room" in fleet.fleet("status"))
        assert PLAIN in fleet.fleet("status") and fleet.drifted() == [PLAIN]
        assert command("drift", *fleet.access)[0] == 1
        assert fleet.houses[PLAIN].serves(before) and not fleet.has(PLAIN, name)
        fleet.change(PLAIN)
        fleet.await_all(name, [PLAIN])
        eventually(lambda: fleet.drifted() == [])


def test_what_an_operator_chose_on_one_machine_is_reported_and_not_undone(fleet: NatsFleet) -> None:
    with asked(fleet.machines):
        wanted = fleet.published("auto,plain")
        fleet.await_all(wanted, [AUTO, PLAIN])
        for name, outcome in ((PLAIN, "drifted"), (AUTO, "blocked")):  # AUTO holds what its operator went away from
            chosen = fleet.houses[name]
            chosen.command("activate", version="adder-v1")
            eventually(lambda chosen=chosen, outcome=outcome: fleet_of(chosen)["outcome"] == outcome)
            eventually(lambda name=name: fleet.drifted() == [name])
            assert chosen.serves("adder-v1")
            chosen.command("activate", version=wanted)
            eventually(lambda: fleet.drifted() == [])
