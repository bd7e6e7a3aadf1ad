"""Versions that hurt only when they are measured, or serve: under load, each ends on the old version by itself.

The house has a real bake, so that the canary and the last watch decide and not the gates alone.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.house import (
    DIGITS,
    House,
    Load,
    clip,
)
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.system.marks import Mark, mark
from tests.versions import (
    CRASH_SECONDS,
    broken_version,
    good_version,
    slow_down,
)

pytestmark = pytest.mark.system

OLD = "dtmf-v1.0"
BAKE_SECONDS = 2.0
CLIENTS = 4


@pytest.fixture(scope="module")
def town(build_shared: Build) -> House:
    house = build_shared(
        rollout={"bake": BAKE_SECONDS, "max_latency_ratio": 1000.0},  # errors decide
    )
    good_version(house.models, OLD)
    return house.start(OLD)


@dataclass(frozen=True)
class Outcome:
    """What one version came to: what clients got, what is shown of it, what was written down."""

    load: Load
    shown: dict[str, Any]
    since: Mark
    links: frozenset[str]

    @property
    def because(self) -> str:
        said: str = self.shown["verdict"]["because"]
        return said

    @property
    def failed_gates(self) -> list[str]:
        return [gate["gate"] for gate in self.shown["verdict"]["gates"] if not gate["passed"]]

    @property
    def served(self) -> int:
        return sum(self.load.answers.values())


def _suffer(
    house: House,
    version: Path,
    *,
    audio: Callable[[], bytes] = clip,
    keep_alive: bool = True,
    meanwhile: Callable[[], None] = lambda: None,
) -> Outcome:
    """Lets the hidden directory `version` arrive under load; returns when it is rejected and all is as it was.

    The link is looked at all the while: `links` are the names that it had.
    """
    name, before, links, over = version.name[1:], mark(house), {os.readlink(house.link)}, threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            links.add(os.readlink(house.link))

    watcher = threading.Thread(target=watch, daemon=True)
    with house.load(CLIENTS, keep_alive=keep_alive, audio=audio) as load:
        watcher.start()
        os.rename(version, house.models / name)
        meanwhile()
        shown = house.await_state(name, "rejected")
        house.await_serving(OLD)
        begun = len(load.seconds)  # a request keeps the version that it began with
        eventually(lambda: len(load.seconds) >= begun + 2 * CLIENTS)
        failed, seen = len(load.failures), len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 40)
        assert len(load.failures) == failed  # and it is over
    over.set()
    watcher.join(PATIENCE_SECONDS)
    assert os.readlink(house.link) == OLD
    assert house.status()["live"] == OLD
    assert {text.replace(DIGITS[OLD], "") for _, text in load.answers} == {""}  # long clips say it several times
    return Outcome(load, shown, before, frozenset(links))


def _rejected_before_it_served(outcome: Outcome) -> None:
    assert outcome.load.failures == []
    assert set(outcome.load.answers) == {(OLD, "5551234")}
    assert outcome.links == {OLD}
    [entry] = outcome.since.history("rejected")
    assert entry["version"] == outcome.shown["version"]
    assert entry["because"] == outcome.because
    assert outcome.since.history("activated") == outcome.since.history("rollout-failed") == []


def _rejected_by_its_rollout(outcome: Outcome) -> None:
    assert outcome.failed_gates == ["rollout"]
    [entry] = outcome.since.history("rollout-failed")
    assert entry["version"] == outcome.shown["version"]
    assert outcome.because in entry["because"]
    assert f"still serving {OLD}" in entry["because"]
    assert outcome.since.history("activated") == []


def _scaled(samples: np.ndarray, factor: float) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * factor).astype("<i2").tobytes())
    return out.getvalue()


def _samples() -> np.ndarray:
    with wave.open(io.BytesIO(clip())) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def _long_clip() -> bytes:
    """Longer than what breaks the versions that break at long clips."""
    samples = _samples()
    return _scaled(np.tile(samples, 1 + int((CRASH_SECONDS + 1) * 16_000 / len(samples))), 1.0)


def test_wrong_answers_under_the_right_signature_are_found_by_the_golden_clips(town: House) -> None:
    outcome = _suffer(town, broken_version(town.models, "tokens_permuted", ".dtmf-v2.0"))
    _rejected_before_it_served(outcome)
    assert outcome.failed_gates == ["golden"]
    assert "%" in outcome.because or "rate" in outcome.because


def test_a_zero_filled_hole_in_weights_of_the_right_size_is_found_by_the_golden_clips(town: House) -> None:
    outcome = _suffer(town, broken_version(town.models, "external_hole", ".dtmf-v2.1"))
    _rejected_before_it_served(outcome)
    assert outcome.failed_gates == ["golden"]


def test_three_times_slower_is_over_the_budget_with_both_times_told(town: House) -> None:
    slow = good_version(town.models, ".dtmf-v2.2")
    slow_down(slow, 300)
    outcome = _suffer(town, slow)
    _rejected_before_it_served(outcome)
    assert outcome.failed_gates == ["budget"]
    assert "times as slow as the live version" in outcome.because
    assert f"{OLD} takes" in outcome.because
    print(outcome.because)


def test_a_version_that_fails_one_request_in_ten_is_taken_back_by_its_bake(town: House) -> None:
    samples, turns = _samples(), itertools.count()
    variants = [_scaled(samples, 0.5 + 0.005 * i) for i in range(100)]
    # So long that one in ten is met however few requests a busy machine answers; the first one ends it.
    town.configure(rollout={**town.settings["rollout"], "bake": PATIENCE_SECONDS})
    assert town.cli("reload").returncode == 0
    try:
        outcome = _suffer(
            town,
            broken_version(town.models, "fails_one_in_ten", ".dtmf-v2.3"),
            audio=lambda: variants[next(turns) % len(variants)],
            keep_alive=False,
        )
    finally:
        town.configure()
        assert town.cli("reload").returncode == 0
    print(f"{outcome.served} answered, {len(outcome.load.failures)} failed: {outcome.because}")
    _rejected_by_its_rollout(outcome)
    assert outcome.links == {OLD}  # the canary alone served it
    assert "requests failed (" in outcome.because
    assert "on the old version, at most 2.0% more" in outcome.because
    assert set(outcome.load.refused) == {(500, "dtmf-v2.3")}
    assert outcome.load.broken == []
    assert len(outcome.load.failures) <= 0.1 * outcome.served
    assert outcome.since.events("worker started") == []


def test_a_version_that_kills_its_worker_at_the_first_real_request_is_taken_back(town: House) -> None:
    turns, usual, long = itertools.count(), clip(), _long_clip()
    outcome = _suffer(
        town,
        broken_version(town.models, "kills_on_longer_audio", ".dtmf-v2.4"),
        audio=lambda: usual if next(turns) % 3 else long,
        keep_alive=False,
    )
    print(f"{outcome.served} answered, {len(outcome.load.failures)} broken off: {outcome.because}")
    _rejected_by_its_rollout(outcome)
    assert outcome.links == {OLD}
    assert "SIGFPE" in outcome.because
    assert "died while it served it" in outcome.because
    assert outcome.load.refused == {}
    assert len(outcome.load.broken) <= CLIENTS  # those in work when it died
    assert len(outcome.since.history("worker-ended")) == 1
    eventually(lambda: len(town.workers()) == 2)


def test_a_version_that_gets_worse_when_all_workers_serve_it_is_rolled_back_by_itself(town: House) -> None:
    name, usual, long, hurt = "dtmf-v2.5", clip(), _long_clip(), threading.Event()

    def until_the_link_names_it() -> None:
        eventually(lambda: os.readlink(town.link) == name)
        hurt.set()

    outcome = _suffer(
        town,
        broken_version(town.models, "crashes_on_longer_audio", f".{name}"),
        audio=lambda: long if hurt.is_set() else usual,
        keep_alive=False,
        meanwhile=until_the_link_names_it,
    )
    print(f"{outcome.served} answered, {len(outcome.load.failures)} failed: {outcome.because}")
    _rejected_by_its_rollout(outcome)
    assert outcome.links == {OLD, name}
    assert "requests failed (" in outcome.because
    assert set(outcome.load.refused) == {(500, name)}
    assert outcome.load.broken == []
    assert outcome.since.events("worker started") == []


def test_none_of_them_is_tried_again_by_itself(town: House) -> None:
    before = mark(town)
    assert town.command("rescan")["success"]
    began = town.status()["uptime_seconds"]
    eventually(lambda: town.status()["uptime_seconds"] > began + 2)
    states = {name: v["state"] for name, v in town.versions().items() if name != OLD}
    assert set(states.values()) == {"rejected"}
    assert before.events("rollout", "validating") == []
    assert town.status()["live"] == OLD
