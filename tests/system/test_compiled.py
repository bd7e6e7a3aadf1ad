"""The compiled form of a version: workers map it, and one that is torn or foreign is never used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.house import DIGITS, House
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import masked_version

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

OLD = "dtmf-v1.0"


def _artifact(house: House) -> Path:
    [found] = [p for p in (house.root / "cache" / "compiled").iterdir() if not p.name.startswith(".")]
    return found


def _described(house: House) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_artifact(house) / "artifact.json").read_text())
    return found


def _mapped(house: House) -> set[str]:
    """Files of the compiled form that all workers have mapped, relative to the artifact."""
    everywhere: list[set[str]] = []
    for worker in house.workers():
        names = {line.split(maxsplit=5)[-1] for line in Path(f"/proc/{worker['pid']}/maps").read_text().splitlines()}
        everywhere.append({os.path.relpath(n, _artifact(house)) for n in names if "/compiled/model" in n})
    return set.intersection(*everywhere)


def _answers(house: House) -> None:
    status, answer, version = house.transcribe()
    assert (status, answer["result"], version) == (200, DIGITS[OLD], OLD)


@pytest.fixture(scope="module", params=["exact", "fast"])
def town(request: pytest.FixtureRequest, build_shared: Build) -> House:
    """A house that serves a version with eight-bit weights, compiled: its form is faster by far on any machine."""
    house = build_shared(validation={"timeout": 90, "golden": "", "compile": request.param})
    masked_version(house.models, OLD)
    house.start()
    house.await_serving(OLD, 120)
    assert _described(house)["form"] != "plain", house.version(OLD)["compiled"]
    return house


def test_workers_map_the_compiled_form_and_it_is_told(town: House) -> None:
    described = _described(town)
    assert described["compiled_model"].startswith("compiled/")
    assert {name for name in _mapped(town) if name in described["files"]}
    told = town.version(OLD)["compiled"]
    assert told["form"] == described["form"]
    assert told["load_seconds"] > 0
    _answers(town)


def test_a_form_made_for_another_machine_is_not_used_and_that_is_said(town: House) -> None:
    description = _artifact(town) / "artifact.json"
    was = description.read_bytes()
    town.stop()
    description.write_text(json.dumps({**json.loads(was), "key": "0123456789abcdef"}))
    try:
        lines = len(town.events())
        town.start()
        town.await_serving(OLD, 60)
        assert _mapped(town) == set()
        said = [e["event"] for e in town.events()[lines:] if "compiled for another" in e["event"]]
        assert said
        assert all("served as it came" in text for text in said)
        _answers(town)
    finally:
        town.stop()
        description.write_bytes(was)
        town.start()
        town.await_serving(OLD, 60)
    assert _mapped(town)


def test_a_torn_form_is_made_again_and_nobody_loads_it_before(town: House) -> None:
    torn = max((_artifact(town) / "compiled").iterdir(), key=lambda path: path.stat().st_size)
    town.stop()  # nobody maps it now
    os.truncate(torn, torn.stat().st_size // 2)
    town.start()
    town.await_serving(OLD, 120)
    before = mark(town)
    assert before.history() == []
    kinds = [e["kind"] for e in town.history() if e["version"] == OLD]
    assert kinds.count("accepted") == 2  # judged again, since its copy was not whole
    described = _described(town)
    for name, entry in described["files"].items():
        assert (_artifact(town) / name).stat().st_size == entry["bytes"]
    assert _mapped(town)
    _answers(town)
