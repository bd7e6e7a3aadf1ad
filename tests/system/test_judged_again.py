"""A rejection is no last word: asked for, or named by the link, the same bytes are judged once more."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from tests.house import House
from tests.house import clip as audio
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.test_unreadable_versions import reload_model
from tests.versions import good_version

from modelward.daemon.errors import Refused

pytestmark = pytest.mark.system
OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared(workers={"count": 1})
    golden = house.root / "golden"
    golden.mkdir()
    house.settings["validation"] = {"golden": str(golden)}
    house.configure()
    good_version(house.models, OLD, golden=False)
    return house.start(OLD)


@pytest.fixture
def town(shared: House) -> House:
    """dtmf-v1.0 is live; dtmf-v1.1 is good, but was rejected when the operator's clip asked for another text.

    The clip's text is no part of a version and no part of what a verdict is kept under: only judging again shows it.
    """
    shared.configure()
    assert shared.command("reload")["success"]
    if shared.status()["live"] != OLD:
        shared.command("activate", version=OLD)
        shared.command("release", version=NEW)
    shutil.rmtree(shared.models / NEW, ignore_errors=True)
    eventually(lambda: list(shared.versions()) == [OLD] and os.readlink(shared.link) == OLD and shared.serves(OLD))
    clip(shared, "nothing of the kind")
    good_version(shared.models, f".{NEW}", words=True, golden=False).rename(shared.models / NEW)
    assert "golden" in shared.await_state(NEW, "rejected")["verdict"]["because"]
    return shared


def clip(house: House, text: str) -> None:
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
    before = judgements(town)
    done = town.cli("validate", NEW, "--again")
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.splitlines()[-1].startswith(f"cannot accept {NEW}: ") and "golden" in done.stderr
    assert judgements(town) == before + 1
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
    town.start(NEW)


def test_activate_judges_a_rejected_version_again(town: House) -> None:
    before = judgements(town)
    with pytest.raises(Refused, match=f"cannot activate {NEW}: it is rejected: .*golden.*still serving {OLD}"):
        town.command("activate", version=NEW)
    assert judgements(town) == before + 1
    mended(town)
    assert town.command("activate", version=NEW)["success"] is True
    assert judgements(town) == before + 2
    assert town.serves(NEW)


def test_a_link_moved_to_a_rejected_version_has_it_judged_again_once_a_move(town: House) -> None:
    before = judgements(town)
    move(town, NEW)
    answer = reload_model(town)
    assert answer["success"] is False and "golden" in str(answer["message"])
    eventually(lambda: os.readlink(town.link) == OLD)
    assert judgements(town) == before + 1
    mended(town)
    move(town, NEW)
    town.await_serving(NEW)
    assert judgements(town) == before + 2


def test_a_link_that_is_left_on_a_rejected_version_is_judged_again_once(town: House) -> None:
    town.configure(models={"rejected_link": "keep"})
    assert town.command("reload")["success"]
    before = judgements(town)
    move(town, NEW)
    assert reload_model(town)["success"] is False
    assert reload_model(town)["success"] is False
    assert judgements(town) == before + 1
    assert os.readlink(town.link) == NEW


def test_a_link_moved_while_there_is_no_daemon_is_followed_like_any_other(town: House) -> None:
    mended(town)
    town.kill()
    move(town, NEW)
    town.start(NEW)
