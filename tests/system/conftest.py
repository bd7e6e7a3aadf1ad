"""Houses for system tests: whole daemons, ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.house import House
from tests.versions import good_version

Build = Callable[..., House]


def _builder(directory: Path) -> Iterator[Build]:
    houses: list[House] = []

    def make(**settings: dict[str, object]) -> House:
        house = House(directory / f"h{len(houses)}", settings)
        houses.append(house)
        return house

    yield make
    for house in houses:
        house.close()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes a house that is not started yet; keyword arguments are configuration sections."""
    yield from _builder(tmp_path)


@pytest.fixture(scope="module")
def build_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """The same for houses that several tests of a file use, each leaving it as it found it."""
    yield from _builder(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def house(build: Build) -> House:
    """A house whose two workers serve dtmf-v1.0."""
    house = build()
    good_version(house.models, "dtmf-v1.0")
    return house.start("dtmf-v1.0")
