"""A model root in which the daemon may write nothing: it serves, keeps its link elsewhere, and cleans nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.house import House
from tests.namespaces import read_only
from tests.roots import project
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.daemon.errors import Refused

pytestmark = pytest.mark.system
OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


def files_of(version: Path) -> dict[str, bytes]:
    return {str(p.relative_to(version)): p.read_bytes() for p in version.rglob("*") if p.is_file()}


def built(build: Build, **models: object) -> House:
    house = build(models=models, workers={"count": 1})
    house.prefix = read_only(house.models)
    return house


def refusal(house: House, path: str, **body: object) -> str:
    with pytest.raises(Refused) as refused:
        house.command(path, **body)
    return str(refused.value)


def test_a_read_only_root_is_served_without_an_alert_and_nothing_is_to_be_written_there(
    build: Build, tmp_path: Path
) -> None:
    house = built(build)
    good_version(house.models, OLD)
    house.start(OLD)
    link = house.root / "state" / "current"
    assert link.readlink() == house.models / OLD
    status = house.status()
    assert status["live"] == OLD and f"cannot write in {house.models}: Read-only file system" in status["root"]
    assert str(link) in house.cli("status").stdout

    plain = good_version(tmp_path, NEW, words=True)
    project(house.models / NEW, files_of(plain))  # as a mounted volume of Kubernetes shows it
    house.await_serving(NEW)
    assert link.readlink() == house.models / NEW
    first = house.version(NEW)["digest"]
    project(house.models / NEW, files_of(plain) | {"README.md": b"a new content under the same name"})
    eventually(lambda: any("were replaced" in line["because"] for line in house.history("activated")))
    assert house.version(NEW)["digest"] != first and house.serves(NEW)
    assert house.command("activate", version=OLD)["message"] == f"serving {OLD}"
    assert link.readlink() == house.models / OLD

    file = {"path": "model.onnx", "bytes": 1}
    assert "Read-only file system" in refusal(house, "uploads", version="v9", kind="directory", files=[file])
    assert "Read-only file system" in house.api.get("/v1/uploads").data["refused"]
    assert "Read-only file system" in house.version(NEW)["must_stay"]
    assert "Read-only file system" in refusal(house, "delete", version=NEW)
    assert house.cli("sweep").returncode == 0
    swept = house.command("sweep", dry_run=True)
    assert "its owner removes versions" in next(c["note"] for c in swept["classes"] if c["class"] == "versions")
    assert house.alerts() == [] and house.history("rollout-failed") == house.history("complaint") == []
    house.kill()
    house.start(OLD)
    assert len(house.history("root-read-only")) == 1, "a restart is no news"
    assert sorted(path.name for path in house.models.iterdir()) == [OLD, NEW]


def test_a_link_that_only_others_can_move_is_followed_and_one_alert_says_what_helps(build: Build) -> None:
    house = built(build)
    good_version(house.models, OLD)
    good_version(house.models, NEW, words=True)
    house.link.symlink_to(OLD)
    house.start(OLD)
    house.await_state(NEW, "accepted")
    [alert] = eventually(house.alerts)
    helpful = ('`models.link = "state"`', '`models.activation = "manual"`')
    for words in (f"{NEW} is the highest accepted version", *helpful):
        assert words in alert["message"]
    assert "the link can't be moved" in refusal(house, "activate", version=NEW)
    for _ in range(3):
        house.command("rescan")
    assert len(house.history("complaint")) == 1 and house.history("rollout-failed") == []
    house.link.unlink()
    house.link.symlink_to(NEW)
    house.await_serving(NEW)
    eventually(lambda: not house.alerts())
