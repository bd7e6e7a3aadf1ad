"""Where the link is: in the model root, or beside the daemon's state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.namespaces import in_private_mounts

from modelward.daemon.config.load import parse
from modelward.daemon.errors import Refused
from modelward.daemon.models.link_place import LinkPlace, at_of, find, notice_of, place_of
from modelward.daemon.models.snapshot import LinkFound, Missing, RootAbsent, RootSeen

READ_ONLY = """
import os, pathlib, subprocess, sys
from modelward.daemon.models.link_place import LinkPlace, find, why_unwritable
from modelward.daemon.models import link
root, aside = pathlib.Path(sys.argv[1]), sys.argv[2]
places = [LinkPlace("current", aside), LinkPlace("stable", aside), LinkPlace("", aside), LinkPlace("folder", aside)]
for place in places:
    print(find(root, place).at)
subprocess.run(["mount", "--bind", "-o", "ro", root, root], check=True)
for place in places:
    found = find(root, place)
    print(found.at, bool(found.fixed), found.read_only == f"cannot write in {root}: Read-only file system")
link.switch(root, "current", "v1")  # it names that already
print(link.read(root, "current"))
"""


@pytest.mark.parametrize(("key", "name"), [("", "current"), ('link = "stable"', "stable"), ('link = "state"', "")])
def test_the_configuration_names_the_places(key: str, name: str) -> None:
    config = parse(f'[models]\n{key}\n[control]\nstate_dir = "/srv/state"', "test")
    assert place_of(config) == LinkPlace(name, "/srv/state/current")


def test_it_is_in_the_root_while_that_can_be_written_and_otherwise_only_if_it_is_there(tmp_path: Path) -> None:
    root, aside = tmp_path / "root", tmp_path / "state" / "current"
    (root / "v1").mkdir(parents=True)
    aside.parent.mkdir()
    (root / "stable").symlink_to("v1")
    (root / "folder").mkdir()
    (root / "current").symlink_to("v1")
    said = in_private_mounts(READ_ONLY, str(root), str(aside)).splitlines()
    assert said[:4] == ["current", "stable", str(aside), "folder"]
    assert said[4:7] == ["current True True", "stable True True", f"{aside} False True"]
    assert said[7] == f"{aside} False True", "a directory of that name in a foreign root is a version"
    assert said[8] == "it names v1"


def test_a_root_without_a_link_that_another_user_owns_leaves_it_to_the_state_directory(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    missing = tmp_path / "root" / "none"
    found = find(missing, LinkPlace("current", str(tmp_path / "current")))
    assert found.at == str(tmp_path / "current") and found.fixed == ""
    assert found.read_only == f"cannot write in {missing}: {os.strerror(2)}"


def test_a_root_that_cannot_be_read_has_no_link_to_move() -> None:
    with pytest.raises(Refused, match="cannot move the link: it is gone; it is as it was"):
        at_of(RootAbsent("it is gone"))
    assert at_of(RootSeen((0, 0), Missing(), (), linked=LinkFound("current"))) == "current"


@pytest.mark.parametrize(
    ("linked", "words"),
    [
        (LinkFound("current"), ""),
        (LinkFound("/s/current"), ""),
        (LinkFound("/s/current", "", "cannot write"), "cannot write; the link is /s/current, and no version"),
        (
            LinkFound("current", "x", "cannot write"),
            "cannot write; only others move current in /models",
        ),
    ],
)
def test_a_root_in_which_nothing_can_be_written_is_said_in_one_sentence(linked: LinkFound, words: str) -> None:
    said = notice_of(RootSeen((0, 0), Missing(), (), linked=linked), Path("/models"))
    assert said.startswith(words) and bool(said) is bool(words)
