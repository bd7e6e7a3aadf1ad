"""Each dependency has a floor that can be tried, and this very environment lies above it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from tests.floors.core import CHECKERS, CORE, core
from tests.floors.pins import pins

ROOT = Path(__file__).resolve().parents[1]
PINS = pins((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".") if part.isdigit()]


def test_every_dependency_names_the_oldest_release_that_works() -> None:
    assert not [pin for pin in PINS if "==" not in pin]


@pytest.mark.parametrize("pin", PINS)
def test_what_is_installed_is_no_older_than_its_floor(pin: str) -> None:
    name, floor = pin.split("==")
    try:
        installed = version(name.split("[")[0])
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert _numbers(installed) >= _numbers(floor)


def test_a_requirement_without_a_floor_that_can_be_read_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="cannot tell the floor"):
        pins('[project]\ndependencies = ["numpy<3"]\noptional-dependencies = {}\n[dependency-groups]\ndev = []')


def test_every_dependency_is_used_by_some_test_of_the_core_or_by_the_checks_alone() -> None:
    assert {pin.partition("==")[0].partition("[")[0] for pin in PINS} == CORE.keys() | CHECKERS


@pytest.mark.parametrize("entry", core())
def test_the_core_exists(entry: str) -> None:
    file, _, test = entry.partition("::")
    assert (ROOT / file).exists()
    assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")
