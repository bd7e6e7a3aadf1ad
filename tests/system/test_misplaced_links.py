"""A link that went into the live version instead of taking its place: known for what it is, and harmless."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.system.test_unreadable_versions import reload_model
from tests.versions import good_version

pytestmark = pytest.mark.system
LIVE, OTHER = "dtmf-v1.1", "dtmf-v1.0"

WAYS: dict[str, tuple[str, str]] = {
    "ln -sf": (f"ln -sf {OTHER} current", OTHER),
    "ln -sf of a path": (f'ln -sf "$PWD/{OTHER}" current', OTHER),
    "ln -sf with a slash": (f"ln -sf {OTHER}/ current/", OTHER),
    "ln -s": (f"ln -s ./{OTHER} current", OTHER),
    "mv": (f"ln -s {OTHER} current_new; mv current_new current", "current_new"),
}


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared()
    good_version(house.models, OTHER)
    good_version(house.models, LIVE, words=True)
    return house.start(LIVE)


@pytest.fixture
def town(shared: House) -> Iterator[House]:
    """dtmf-v1.1 is live, dtmf-v1.0 is accepted, and no link lies in either."""
    yield shared
    for version in (LIVE, OTHER):
        for entry in (shared.models / version).iterdir():
            if entry.is_symlink():
                entry.unlink()
    if shared.status()["live"] != LIVE:
        shared.command("activate", version=LIVE)
    eventually(lambda: shared.serves(LIVE) and not _alerts(shared))


def _shell(house: House, command: str) -> None:
    subprocess.run(["sh", "-ec", command], cwd=house.models, check=True, timeout=PATIENCE_SECONDS)


def _alerts(house: House) -> list[str]:
    return [alert["message"] for alert in house.status()["alerts"] if alert["metric"] == "misplaced_link"]


def _judgements(house: House, version: str) -> int:
    return sum(e.get("event") == "validating" and e.get("version") == version for e in house.events())


@pytest.mark.parametrize("way", WAYS)
def test_is_said_with_the_right_command_and_what_is_served_goes_on(town: House, way: str) -> None:
    command, name = WAYS[way]
    digest, judged, noted = town.version(LIVE)["digest"], _judgements(town, LIVE), len(town.history("misplaced-link"))
    with town.load(clients=1) as load:
        _shell(town, command)
        answer = reload_model(town)
        assert answer["success"] is False
        for words in (
            f"a link to {OTHER} was put into {LIVE} and moves nothing there",
            f"`modelward activate {OTHER}`",
            f"`ln -sfn {OTHER} current`",
            f"`rm {town.models / LIVE / name}`",
            f"still serving {LIVE}",
        ):
            assert words in str(answer["message"])
        [alert] = eventually(lambda: _alerts(town))
        assert f"`modelward activate {OTHER}`" in alert
        assert f"`modelward activate {OTHER}`" in town.cli("status").stdout
    history = town.history("misplaced-link")
    assert (len(history), history[0]["version"]) == (noted + 1, LIVE)
    assert any(e["event"] == "misplaced link" and e["path"] == f"{LIVE}/{name}" for e in town.events())
    shown = town.version(LIVE)
    assert (shown["state"], shown["digest"], shown["live"]) == ("accepted", digest, True)
    assert _judgements(town, LIVE) == judged and load.failures == []

    (town.models / LIVE / name).unlink()
    eventually(lambda: not _alerts(town))
    assert reload_model(town) == {"success": True, "message": f"serving {LIVE}"}
    assert town.version(LIVE)["state"] == "accepted" and _judgements(town, LIVE) == judged


def test_the_command_that_is_named_does_what_was_meant(town: House) -> None:
    _shell(town, f"ln -sf {OTHER} current")
    assert reload_model(town)["success"] is False
    _shell(town, f"ln -sfn {OTHER} current")
    town.await_serving(OTHER)
    assert reload_model(town)["success"] is True, "the link does what was meant, wherever another one still lies"
    assert town.command("activate", version=LIVE)["message"] == f"serving {LIVE}", "the link in it is no part of it"


def test_it_is_no_part_of_the_version_when_that_is_judged_again_or_the_daemon_starts_anew(town: House) -> None:
    digest = town.version(LIVE)["digest"]
    _shell(town, f"ln -sf {OTHER} current")
    assert reload_model(town)["success"] is False
    assert town.command("validate", version=LIVE)["success"] is True
    layout = next(g for g in town.version(LIVE)["verdict"]["gates"] if g["gate"] == "layout")
    assert layout["passed"] and OTHER in layout["because"]
    judged = _judgements(town, LIVE)
    town.kill()
    town.start(LIVE)
    eventually(lambda: _alerts(town))
    assert (town.version(LIVE)["state"], town.version(LIVE)["digest"]) == ("accepted", digest)
    assert _judgements(town, LIVE) == judged
    done = town.cli("validate", town.models / LIVE, "--config", town.config)
    assert done.returncode == 0, done


def test_a_link_to_something_in_its_own_version_is_no_such_link(town: House) -> None:
    version = good_version(town.models, ".dtmf-v0.9")
    (version / OTHER).mkdir()
    (version / OTHER / "notes").touch()
    (version / "notes").symlink_to(f"{OTHER}/notes")
    version.rename(town.models / "dtmf-v0.9")
    town.await_state("dtmf-v0.9", "accepted")
    assert _alerts(town) == []
    shutil.rmtree(town.models / "dtmf-v0.9")
    eventually(lambda: not town.version("dtmf-v0.9"))
