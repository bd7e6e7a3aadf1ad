"""Eight machines that follow one record, whatever carries it: what the tests of each engine have in common.

CANARY requires signatures of versions. EARLY's clock is a day early, and it has a small disk of its own. LATE's is a
day late, and it takes versions up by itself. CUT may be cut off. Three more are shops like any other. Each of the first
five has a label of its own, so that a test may be about one of them alone: whole daemons are dear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.fleet_house import KEY, command, fleet_of, key_file, machine, named, version
from tests.house import House
from tests.small_disk import SmallDisk, small_disk
from tests.support import eventually

from modelward.daemon.errors import ModelwardError
from modelward.daemon.fleet.record import FleetRecord
from modelward.daemon.fleet.signature import read_record
from modelward.worker.shared.minisign_keys import public_line

FAKETIME = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")
CANARY = named(0, 50, 100)
EARLY, LATE, KEEPER, CUT = named(1, 0, 50), named(2, 50, 100), named(3, 0, 50), named(4, 50, 100)
FULL, AUTO, PLAIN = EARLY, LATE, KEEPER
"""Their other parts."""
LABELS = {CANARY: "canary", FULL: "full", AUTO: "auto", PLAIN: "plain", CUT: "cut"}
LABELS |= {named(number, 50, 100): "shop" for number in (5, 6, 7)}
ALL = list(LABELS)


class Fleet(ABC):
    """The machines by name, and what a publisher has. Versions are adder-v1, adder-v2 and so on."""

    def __init__(self, root: Path) -> None:
        if not FAKETIME:
            pytest.skip("no libfaketime here (apt install libfaketime)")
        self.root, self.site, self.number = root, root / "site", 1
        self.key = key_file(root)
        self.ends = ExitStack()
        self.disk = self._disk()
        first = version(self.site, "adder-v1", number=1.0)
        self.houses = {name: self._machine(name, first) for name in ALL}

    def _disk(self) -> SmallDisk | None:
        try:
            return self.ends.enter_context(small_disk(self.root / FULL / "models", options="size=48m"))
        except pytest.skip.Exception:
            return None

    def _machine(self, name: str, first: Path) -> House:
        settings: dict[str, dict[str, object]] = {"fleet": {"labels": [LABELS[name]], **self.followed(name)}}
        if name == CANARY:  # what others would take it rejects where another key signed it
            settings["validation"] = {"public_keys": [public_line(KEY.public)]}
        if name == AUTO:
            settings["models"] = {"activation": "auto"}
        prefix: tuple[str, ...] = ()
        if moved := {EARLY: "+1d", LATE: "-1d"}.get(name):
            prefix = ("env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME={moved}", "FAKETIME_DONT_FAKE_MONOTONIC=1")
        if name == FULL and self.disk is not None:
            return machine(self.root, name, first, settings, (*self.disk.prefix, *prefix), self.disk.inside(""))
        return machine(self.root, name, first, settings, prefix)

    # what carries it

    @abstractmethod
    def followed(self, name: str) -> dict[str, object]:
        """The keys of [fleet] by which a machine reaches the record."""

    @property
    @abstractmethod
    def access(self) -> tuple[object, ...]:
        """Words that lead a command to the record."""

    @abstractmethod
    def put_record(self, text: bytes) -> None:
        """As whoever holds the server, or the stick, does."""

    @abstractmethod
    def record_text(self) -> bytes:
        """What is there."""

    @abstractmethod
    def cut_off(self) -> AbstractContextManager[object]:
        """CUT reaches nothing for as long as the block runs."""

    @abstractmethod
    def back(self, version: str) -> None:
        """All go back to this version, the one before."""

    # what is done

    def start(self) -> None:
        machines = list(self.houses.values())
        for number in range(0, len(machines), 2):  # two at a time: the computer may be busy
            pair = machines[number : number + 2]
            for house in pair:
                house.start(wait=False)
            for house in pair:
                eventually(house.answers)
                house.await_serving("adder-v1")

    def close(self) -> None:
        for house in self.houses.values():
            house.close()
        self.ends.close()

    @property
    def machines(self) -> list[House]:
        return list(self.houses.values())

    def fleet(self, *words: object) -> str:
        status, printed = command(*words, *self.access)
        assert status == 0, printed
        return printed

    def make(self, **made: Any) -> str:
        """One more version, on the publisher's computer."""
        self.number += 1
        name = f"adder-v{self.number}"
        version(self.site, name, number=float(self.number), **made)
        return name

    def publish(self, name: str, waves: str, *words: object) -> str:
        return self.fleet("publish", self.site / name, "--key", self.key, "--waves", waves, "--pause", "0s", *words)

    def published(self, waves: str, *words: object, **made: Any) -> str:
        """A new version that is wanted from now on."""
        name = self.make(**made)
        self.publish(name, waves, *words)
        return name

    # what is so

    def record(self) -> FleetRecord:
        found = read_record(self.record_text())
        assert found is not None
        return found

    def serving(self, name: str) -> str:
        """What a machine serves."""
        found: str = self.houses[name].workers()[0]["serving"]
        return found

    def has(self, name: str, version: str) -> bool:
        """Whether a machine's model root has it."""
        on_disk = self.disk is not None and name == FULL
        root = self.disk.inside("") if on_disk and self.disk is not None else self.houses[name].models
        return (root / version).exists()

    def left_over(self, name: str) -> list[str]:
        """What fetching left in a model root."""
        return [path.name for path in self.houses[name].models.iterdir() if path.name.startswith(".fleet")]

    def serves(self, name: str, version: str) -> bool:
        """Whether a machine serves what the record that it follows wants, and that is this version."""
        house = self.houses[name]
        try:
            found = fleet_of(house)
        except ModelwardError:  # it is being started
            return False
        wanted = found["record"] and found["record"]["version"]
        return wanted == version and found["outcome"] == "serving" and house.serves(version)

    def await_all(self, version: str, names: list[str] = ALL) -> None:
        for name in names:
            eventually(lambda name=name: self.serves(name, version))
            self.houses[name].await_serving(version)

    def await_refused(self, because: str, names: list[str] = ALL) -> None:
        for name in names:
            eventually(lambda name=name: because in fleet_of(self.houses[name])["refused"])

    def await_because(self, name: str, because: str) -> None:
        eventually(lambda: because in fleet_of(self.houses[name])["because"])

    def change(self, name: str, **sections: dict[str, object]) -> None:
        """A machine goes on with these keys."""
        self.houses[name].configure(**sections)
        assert self.houses[name].cli("reload").returncode == 0
