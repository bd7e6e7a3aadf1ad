"""Versions that cannot be looked through: rejected with the reason at once, and whoever waits is answered."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.daemon.errors import Refused
from modelward.daemon.models.scan import MAX_DEPTH

pytestmark = pytest.mark.system
OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"
Spoil = Callable[[Path], None]


def as_other_users(house: House) -> None:
    """Root's daemon reads everything; without these two rights it reads what its owner allows."""
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed, and root reads everything")
        house.prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared()
    as_other_users(house)
    good_version(house.models, OLD)
    return house.start(OLD)


@pytest.fixture
def town(shared: House) -> Iterator[House]:
    """dtmf-v1.0 is live, and no other version is there."""
    yield shared
    with_rights(shared.models / NEW)
    shutil.rmtree(shared.models / NEW)
    eventually(lambda: set(shared.versions()) == {OLD} and os.readlink(shared.link) == OLD and shared.serves(OLD))


def with_rights(version: Path) -> None:
    for place, directories, files in os.walk(version):
        for name in ("", *directories, *files):
            if not os.path.islink(path := os.path.join(place, name)):
                os.chmod(path, 0o755)


def _no_directory(version: Path) -> None:
    version.chmod(0)


def _no_file(version: Path) -> None:
    (version / "am.mvn").chmod(0)


def _deep(version: Path) -> None:
    version.joinpath(*["d"] * (MAX_DEPTH + 1)).mkdir(parents=True)


def _fifo(version: Path) -> None:
    os.mkfifo(version / "notes")


# tests/worker/validate/test_safe_walk.py and tests/daemon/models/test_scan.py have every way there is.
WAYS: dict[str, tuple[Spoil, str]] = {
    "a directory without permission": (_no_directory, "Permission denied"),
    "a file without permission": (_no_file, "am.mvn can't be read: Permission denied"),
    "too deep": (_deep, f"deeper than {MAX_DEPTH} directories"),
    "a FIFO": (_fifo, "notes is a FIFO"),
}
MENDED_BY_RIGHTS = [way for way in WAYS if "permission" in way]


def arrives(house: House, spoil: Spoil) -> Path:
    path = good_version(house.models, f".{NEW}")
    spoil(path)
    path.rename(house.models / NEW)
    return house.models / NEW


def _alerts(house: House) -> list[str]:
    return [alert["message"] for alert in house.status()["alerts"] if alert["metric"] == "version_rejected"]


def reload_model(house: House) -> dict[str, object]:
    with closing(http.client.HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("POST", "/api/reload-model")
        answer: dict[str, object] = json.loads(connection.getresponse().read())
        return answer


@pytest.mark.parametrize("way", WAYS)
def test_is_rejected_with_the_reason_and_everybody_who_waits_for_it_is_answered(town: House, way: str) -> None:
    spoil, reason = WAYS[way]
    arrives(town, spoil)
    answer = reload_model(town)
    assert answer["success"] is False
    assert f"cannot take {NEW}" in str(answer["message"]) and reason in str(answer["message"])
    assert reason in town.version(NEW)["verdict"]["because"]
    with pytest.raises(Refused, match=f"cannot activate {NEW}: it is rejected: .*{reason}.*still serving {OLD}"):
        town.command("activate", version=NEW)
    assert [reason in e["because"] for e in town.history("rejected") if e["version"] == NEW][:1] == [True]
    [message] = eventually(lambda: _alerts(town))
    assert NEW in message and reason in message


@pytest.mark.parametrize("way", MENDED_BY_RIGHTS)
def test_is_judged_and_goes_live_as_soon_as_it_can_be_read(town: House, way: str) -> None:
    path = arrives(town, WAYS[way][0])
    assert f"chmod -R a+rX {path}" in town.await_state(NEW, "rejected")["verdict"]["because"]
    with_rights(path)
    town.await_serving(NEW)
    town.link.unlink()
    town.link.symlink_to(OLD)
    town.await_serving(OLD)
    town.command("release", version=NEW)


def test_a_link_moved_to_it_changes_nothing_of_what_is_live_and_is_put_back(town: House) -> None:
    arrives(town, _no_directory)
    aside = town.models / ".next"
    aside.symlink_to(NEW)
    before = len(town.history("link-restored"))
    aside.replace(town.link)
    answer = reload_model(town)
    assert answer["success"] is False and "Permission denied" in str(answer["message"])
    restored = eventually(lambda: town.history("link-restored")[: -before or None])
    assert "Permission denied" in restored[0]["because"]
    assert town.status()["live"] == OLD


def test_what_is_served_stays_live_while_it_cannot_be_read_any_more(town: House) -> None:
    arrives(town, _fifo)  # for the fixture, which expects one to remove
    (town.models / OLD).chmod(0)
    rejected = town.await_state(OLD, "rejected")
    assert "Permission denied" in rejected["verdict"]["because"]
    with town.load(clients=1) as load:
        alert = eventually(lambda: town.alerts())
    assert "Permission denied" in alert[0]["message"] and f"still serving {OLD}" in alert[0]["message"]
    assert load.failures == [] and town.serves(OLD)
    (town.models / OLD).chmod(0o755)
    town.await_state(OLD, "accepted")
    eventually(lambda: not town.alerts())


def test_live_is_what_the_workers_serve_also_while_the_link_names_something_else(build: Build) -> None:
    house = build(workers={"count": 1}, models={"rejected_link": "keep"})
    as_other_users(house)
    good_version(house.models, OLD)
    house.start(OLD)
    arrives(house, _no_directory)
    house.link.unlink()
    house.link.symlink_to(NEW)
    answer = reload_model(house)
    assert answer["success"] is False and "Permission denied" in str(answer["message"])
    assert f"still serving {OLD}" in str(answer["message"])
    again = reload_model(house)  # nothing is new, and the link still names what cannot be served
    assert again["success"] is False and "Permission denied" in str(again["message"])
    status = house.status()
    assert (status["live"], status["serving"], status["link"]["version"]) == (OLD, OLD, NEW)
    assert "Permission denied" in status["link"]["because"]
    shown = {name: version["live"] for name, version in house.versions().items()}
    assert shown == {OLD: True, NEW: False}
    text = house.cli("status").stdout
    assert f"live     {OLD}, ready" in text
    assert f"link     names {NEW}: " in text and "Permission denied" in text
