"""Houses for system tests: whole daemons, ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.house import House
from tests.versions import good_version

Build = Callable[..., House]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes a house that is not started yet; keyword arguments are configuration sections."""
    houses: list[House] = []

    def make(**settings: dict[str, object]) -> House:
        house = House(tmp_path / f"h{len(houses)}", settings)
        houses.append(house)
        return house

    yield make
    for house in houses:
        house.close()


@pytest.fixture
def house(build: Build) -> House:
    """A house whose two workers serve dtmf-v1.0."""
    house = build()
    good_version(house.models, "dtmf-v1.0")
    house.start()
    house.await_serving("dtmf-v1.0")
    return house
