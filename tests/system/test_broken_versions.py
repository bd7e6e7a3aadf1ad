"""Versions broken in every way are dropped into one house while clients ask: each is refused, nobody notices."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest
from tests.house import House, Load
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import (
    BROKEN,
    CopyUnderway,
    broken_version,
    good_version,
)

pytestmark = pytest.mark.system

# One for each gate; that each of them all is refused is shown by tests/worker/validate/test_broken.py.
CASES = ("gigabytes", "link_to_system_file", "nan_weights", "tokens_permuted", "wrong_signature")
VERSIONS = {case: f"dtmf-v2.{i}" for i, case in enumerate(CASES)}
GATES = {
    "files": {"layout", "signature"},
    "load": {"signature", "load"},
    "signature": {"signature"},
    "vocabulary": {"layout", "signature"},
    "cmvn": {"signature"},
    "run": {"probe"},
    "time": {"load", "probe"},
    "memory": {"load", "probe"},
    "golden": {"golden"},
}


@dataclass(frozen=True)
class Aftermath:
    """What was left when the last one was judged."""

    house: House
    load: Load
    versions: dict[str, dict[str, Any]]
    history: list[dict[str, Any]]


@pytest.fixture(scope="module")
def aftermath(build_shared: Build) -> Aftermath:
    house = build_shared(workers={"count": 1}, validation={"memory": "1GiB"})
    good_version(house.models, "dtmf-v1.0")
    for case, name in VERSIONS.items():
        broken_version(house.models, case, f".{name}")  # a name that is passed over
    house.start("dtmf-v1.0")
    before = mark(house)
    with house.load(clients=1) as load:
        for name in VERSIONS.values():
            os.rename(house.models / f".{name}", house.models / name)
        judged = {"accepted", "rejected"}
        eventually(lambda: all(house.version(v).get("state") in judged for v in VERSIONS.values()))
    return Aftermath(house, load, house.versions(), before.history())


@pytest.mark.parametrize("case", CASES)
def test_a_broken_version_is_refused_with_its_own_reason_in_versions_and_history(
    aftermath: Aftermath, case: str
) -> None:
    broken, name = BROKEN[case], VERSIONS[case]
    shown = aftermath.versions[name]
    assert shown["state"] == "rejected"
    assert not shown["live"]
    assert shown["serving"] == []
    because = shown["verdict"]["because"]
    assert any(word.lower() in because.lower() for word in broken.words), because
    failed = [gate["gate"] for gate in shown["verdict"]["gates"] if not gate["passed"]]
    assert len(failed) == 1
    assert failed[0] in GATES[broken.caught]
    told = [e for e in aftermath.history if e["version"] == name]
    assert [(e["kind"], e["because"]) for e in told] == [("rejected", because)]


def test_requests_go_on_without_a_failure_while_all_of_them_are_judged(aftermath: Aftermath) -> None:
    load, house = aftermath.load, aftermath.house
    print(f"{len(load.seconds)} requests during {len(CASES)} refusals")
    assert load.failures == []
    assert set(load.answers) == {("dtmf-v1.0", "5551234")}
    assert len(load.seconds) > len(CASES)
    assert house.status()["live"] == "dtmf-v1.0"
    assert [e for e in aftermath.history if e["kind"] in ("activated", "link-restored", "worker-ended")] == []


def test_nothing_of_a_refused_version_is_kept(aftermath: Aftermath) -> None:
    compiled = sorted(p.name for p in (aftermath.house.root / "cache" / "compiled").iterdir())
    assert [name.rpartition("-")[0] for name in compiled] == ["dtmf-v1.0"]


def test_an_operator_can_tell_one_fault_from_another_by_the_reason(aftermath: Aftermath) -> None:
    reasons = {aftermath.versions[VERSIONS[fault]]["verdict"]["because"] for fault in CASES}
    assert len(reasons) == len(CASES), sorted(reasons)


def test_a_version_is_not_judged_while_it_is_being_copied_and_goes_live_when_it_is_whole(aftermath: Aftermath) -> None:
    house = aftermath.house
    source = good_version(house.root / "source", "dtmf-v3.0", words=True)
    before = mark(house)
    with house.load(clients=2) as load:
        copy = CopyUnderway(source, house.models / "dtmf-v3.0", chunk_bytes=30_000)
        while not (copy.target / "model.onnx").exists():
            copy.step()
        looks = 0
        while copy.step():
            now = house.status()["uptime_seconds"]
            eventually(lambda until=now + 0.5: house.status()["uptime_seconds"] > until)  # longer than settle
            shown = house.version("dtmf-v3.0")
            assert shown["state"] in ("seen", "settling")
            looks += 1
        house.await_serving("dtmf-v3.0")
    print(f"looked at {looks} times while it was copied")
    assert looks > 3
    assert [e["kind"] for e in before.history() if e["version"] == "dtmf-v3.0"][:1] == ["accepted"]
    assert before.history("rejected") == []
    assert load.failures == []
    assert load.mixed == []
