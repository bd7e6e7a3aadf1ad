"""A rejection is no last word: asked for, or named by the link, the same bytes are judged once more."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.test_unreadable_versions import reload_model
from tests.versions import good_version

from modelward.daemon.errors import Refused

pytestmark = pytest.mark.system
OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


@pytest.fixture
def town(build: Build) -> House:
    """dtmf-v1.0 is live; dtmf-v1.1 is good, but was rejected when the operator's clip asked for another text.

    The clip's text is no part of a version and no part of what a verdict is kept under: only judging again shows it.
    """
    house = build()
    golden = house.root / "golden"
    golden.mkdir()
    house.settings["validation"] = {"golden": str(golden)}
    house.configure()
    good_version(house.models, OLD, golden=False)
    house.start()
    house.await_serving(OLD)
    clip(house, "nothing of the kind")
    good_version(house.models, f".{NEW}", words=True, golden=False).rename(house.models / NEW)
    assert "golden" in house.await_state(NEW, "rejected")["verdict"]["because"]
    return house


def clip(house: House, text: str) -> None:
    from tests.house import clip as audio

    (house.root / "golden" / "digits.wav").write_bytes(audio())
    (house.root / "golden" / "digits.txt").write_text(text)


def mended(house: House) -> None:
    clip(house, "five five five one two three four")


def judgements(house: House) -> int:
    return sum(e.get("event") == "validating" and e.get("version") == NEW for e in house.events())


def move(house: House, version: str) -> None:
    aside = house.models / ".next"
    aside.symlink_to(version)
    aside.replace(house.link)


def test_validate_again_judges_a_rejected_version_of_the_running_daemon(town: House) -> None:
    done = town.cli("validate", NEW, "--again")
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.splitlines()[-1].startswith(f"cannot accept {NEW}: ") and "golden" in done.stderr
    assert judgements(town) == 2
    told = town.cli("validate", NEW, "--again", "--json")
    assert told.returncode == 1
    data = json.loads(told.stdout)
    assert data["success"] is False and data["version"]["state"] == "rejected"
    mended(town)
    done = town.cli("validate", NEW, "--again")
    assert (done.returncode, done.stdout.splitlines()[-1].startswith(f"{NEW} is accepted: ")) == (0, True), done
    town.await_serving(NEW)


def test_validate_again_needs_a_name_and_a_daemon_that_has_that_version(town: House) -> None:
    done = town.cli("validate", "dtmf-v9.9", "--again")
    assert (done.returncode, done.stdout) == (1, "") and "there is no such version" in done.stderr
    done = town.cli("validate", NEW, "--again", "--socket", town.root / "nowhere.sock")
    assert (done.returncode, done.stdout) == (3, "")
    done = town.cli("validate", NEW, "--again", "--config", town.config)
    assert (done.returncode, done.stdout) == (2, "") and "--config" in done.stderr


def test_a_rejection_that_was_forgotten_stays_forgotten_when_the_daemon_dies_before_the_next_verdict(
    town: House,
) -> None:
    mended(town)
    town.api.post("/v1/validate", {"version": NEW, "again": True})
    town.kill()
    town.start()
    town.await_serving(NEW)


def test_activate_judges_a_rejected_version_again(town: House) -> None:
    with pytest.raises(Refused, match=f"cannot activate {NEW}: it is rejected: .*golden.*still serving {OLD}"):
        town.command("activate", version=NEW)
    assert judgements(town) == 2
    mended(town)
    assert town.command("activate", version=NEW)["success"] is True
    assert judgements(town) == 3
    assert town.serves(NEW)


def test_a_link_moved_to_a_rejected_version_has_it_judged_again_once_a_move(town: House) -> None:
    move(town, NEW)
    answer = reload_model(town)
    assert answer["success"] is False and "golden" in str(answer["message"])
    eventually(lambda: os.readlink(town.link) == OLD)
    assert judgements(town) == 2
    mended(town)
    move(town, NEW)
    town.await_serving(NEW)
    assert judgements(town) == 3


def test_a_link_that_is_left_on_a_rejected_version_is_judged_again_once(build: Build, tmp_path: Path) -> None:
    house = build(models={"rejected_link": "keep"})
    good_version(house.models, OLD)
    good_version(house.models, f".{NEW}").rename(house.models / NEW)
    house.start()
    house.await_serving(NEW)
    (house.models / "dtmf-v0.9").mkdir()
    (house.models / "dtmf-v0.9" / "model.onnx").touch()
    house.await_state("dtmf-v0.9", "rejected")
    move(house, "dtmf-v0.9")
    assert reload_model(house)["success"] is False
    assert reload_model(house)["success"] is False
    begun = [e for e in house.events() if e.get("event") == "validating" and e.get("version") == "dtmf-v0.9"]
    assert len(begun) == 2 and os.readlink(house.link) == "dtmf-v0.9"


def test_a_link_moved_while_there_is_no_daemon_is_followed_like_any_other(town: House) -> None:
    mended(town)
    town.kill()
    move(town, NEW)
    town.start()
    town.await_serving(NEW)
