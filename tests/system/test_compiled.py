"""The compiled form of a version: made after it serves, taken up like a version, never in the way of one."""

from __future__ import annotations

import os
import signal

import pytest
from tests.forms import (
    artifacts,
    await_form,
    bytes_once,
    compilers,
    described,
    mapped,
    rewrite_description,
)
from tests.house import DIGITS, House, clip
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import masked_version

pytestmark = pytest.mark.system

OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


def _answers(house: House, name: str = OLD) -> None:
    status, answer, version = house.transcribe()
    assert (status, answer["result"], version) == (200, DIGITS[OLD if name == OLD else NEW], name)


def _house(build: Build, level: str = "exact") -> House:
    return build(validation={"compile": level})


def _arrives(house: House, name: str, *, words: bool = False) -> None:
    """A version that is faster by far once it is compiled, on any machine, and has bytes of its own.

    It comes by a rename.
    """
    aside = house.root / "aside"
    aside.mkdir(exist_ok=True)
    version = masked_version(aside, name, words=words)
    (version / "note.txt").write_text(name)
    version.rename(house.models / name)


@pytest.fixture(scope="module")
def town(build_shared: Build) -> House:
    """A house that serves a version in its compiled form."""
    house = _house(build_shared)
    _arrives(house, OLD)
    house.start()
    await_form(house, OLD)
    return house


def test_workers_map_the_compiled_form_and_it_is_told(town: House) -> None:
    form = await_form(town, OLD)
    assert described(form)["compiled_model"].startswith("compiled/")
    told = town.version(OLD)["compiled"]
    assert told["form"] == described(form)["form"]
    assert told["load_seconds"] > 0
    assert {"cpu_ratio_5s", "load_seconds_original", "load_bytes", "load_bytes_original"} <= told.keys()
    live = town.history("form-live")[0]["because"]
    assert all(word in live for word in ("CPU time", "loads in", "MiB instead of"))
    assert [e["kind"] for e in town.history() if e["kind"] in ("accepted", "activated")] == ["activated", "accepted"]
    _answers(town)


def test_of_several_forms_only_the_best_stays_and_no_byte_of_the_version_is_stored_twice(town: House) -> None:
    form = await_form(town, OLD)
    eventually(lambda: len(artifacts(town)) == 2)
    once, names = bytes_once(town.root / "cache" / "compiled")
    originals = sum(file["bytes"] for name, file in described(form)["files"].items() if "compiled/" not in name)
    assert names - once == originals
    space = {row["class"]: row for row in town.api.get("/v1/disk").data["classes"]}["compiled"]
    blocks = [p.stat().st_blocks * 512 for p in (town.root / "cache" / "compiled").rglob("*")]
    assert space["bytes"] < sum(blocks)  # links count once


def test_a_form_that_exists_is_used_at_once_after_a_restart(town: House) -> None:
    form = await_form(town, OLD)
    assert town.stop() == 0
    before = len(town.events())
    town.start(OLD)
    assert any(name.startswith(f"{form}/") for name in mapped(town))
    _answers(town)
    assert not [e for e in town.events()[before:] if e["event"] == "compiling"]


def test_a_form_made_for_another_machine_is_not_used_and_another_is_made(town: House) -> None:
    form = await_form(town, OLD)
    assert town.stop() == 0
    rewrite_description(form, key="0123456789abcdef")
    town.start(OLD)
    _answers(town)
    assert described(await_form(town, OLD))["key"] != "0123456789abcdef"
    _answers(town)


def test_a_torn_form_is_made_again_and_nobody_loads_it_before(town: House) -> None:
    form = await_form(town, OLD)
    torn = max((form / "compiled").iterdir(), key=lambda path: path.stat().st_size)
    assert town.stop() == 0  # nobody maps it now
    os.truncate(torn, torn.stat().st_size // 2)
    town.start(OLD)
    again = await_form(town, OLD)
    for name, entry in described(again)["files"].items():
        assert (again / name).stat().st_size == entry["bytes"]
    assert [e["kind"] for e in town.history() if e["version"] == OLD].count("accepted") == 1  # not judged again
    _answers(town)


def test_a_first_version_serves_before_its_form_exists_and_a_compiler_that_is_killed_costs_nothing(
    build: Build,
) -> None:
    house = _house(build, "fast")
    _arrives(house, OLD)
    house.start(OLD)
    kinds = [e["kind"] for e in house.history()]
    assert "activated" in kinds and "form-live" not in kinds
    assert mapped(house) == set()
    _answers(house)
    before = mark(house)
    with house.load(clients=1) as load:
        for pid in eventually(lambda: compilers(house)):
            os.kill(pid, signal.SIGKILL)
        form = await_form(house, OLD)
    assert house.version(OLD)["compiled"]["form"] == described(form)["form"]
    assert load.failures == []
    assert load.mixed == []
    assert not [e for e in before.history() if e["kind"] in ("rejected", "rollout-failed", "worker-ended")]
    assert house.version(OLD)["state"] == "accepted"


def test_a_daemon_that_dies_in_the_middle_leaves_no_compiler_and_its_successor_goes_on(build: Build) -> None:
    house = _house(build)
    _arrives(house, OLD)
    house.start(OLD)
    [pid, *_] = eventually(lambda: compilers(house))
    house.kill()
    eventually(lambda: not _alive(pid))
    house.start(OLD)
    await_form(house, OLD)
    compiled = house.root / "cache" / "compiled"
    eventually(lambda: not [p.name for p in compiled.iterdir() if p.name.startswith(".tmp-form-")])  # removed aside
    _answers(house)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def _next(house: House) -> tuple[str, str]:
    """What is live, in its form, and the name of a version to come."""
    live = house.status()["live"]
    await_form(house, live)
    return live, f"{live[:-1]}{int(live[-1]) + 1}"


def test_the_form_of_a_next_version_is_begun_while_it_is_judged_and_it_goes_live_in_it(town: House) -> None:
    old, new = _next(town)
    before = mark(town)
    with town.load(clients=1) as load:
        _arrives(town, new, words=True)
        town.await_serving(new)
    assert load.failures == []
    assert load.mixed == []
    await_form(town, new)
    [activated] = before.history("activated")
    assert activated["version"] == new
    budget = town.version(new)["verdict"]["gates"][-1]
    assert f"a clip, {old} (exact) takes" in budget["because"]  # which loads in a fraction of the time
    told = [e["event"] for e in before.events("compiling", "accepted") if e["version"] == new]
    assert told == ["compiling", "accepted"]
    loads = [e for e in before.events("prepared") if e.get("version") == new]
    assert len(loads) == len(town.workers())  # once each: in the form that was made before


def test_a_next_version_waits_for_a_form_whose_first_compiler_died(town: House) -> None:
    _, new = _next(town)
    before = mark(town)
    _arrives(town, new, words=True)
    [pid, *_] = eventually(lambda: compilers(town))
    os.kill(pid, signal.SIGKILL)
    waiting = eventually(lambda: town.version(new).get("waiting"))
    assert "waiting for its compiled form" in waiting
    told = town.status()["waiting"]
    assert told is None or told["version"] == new
    town.await_serving(new)
    await_form(town, new)
    assert not before.history("form-failed")
    loads = [e for e in before.events("prepared") if e.get("version") == new]
    assert len(loads) == len(town.workers())


def test_a_version_that_is_rejected_leaves_no_form_and_no_compiler(town: House) -> None:
    old, new = _next(town)
    before = mark(town)
    aside = masked_version(town.root / "aside", new, words=True)
    (aside / "golden").mkdir(exist_ok=True)
    for number in range(40):
        (aside / "golden" / f"{number}.wav").write_bytes(clip())
        (aside / "golden" / f"{number}.txt").write_text("what nobody said")
    aside.rename(town.models / new)
    eventually(lambda: town.version(new).get("state") == "rejected")
    eventually(lambda: not compilers(town))
    assert [e["event"] for e in before.events("compiling") if e["version"] == new]
    _answers(town, old)
    assert not before.history("form-failed")
    root = town.root / "cache" / "compiled"
    eventually(lambda: not [p for p in root.iterdir() if new in p.name or p.name.startswith(".tmp-")])
