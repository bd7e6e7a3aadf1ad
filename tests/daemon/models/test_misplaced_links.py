"""Links that went into a version instead of the model root: which ones they are, and that nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.roots import IN_ROOT

from modelward.daemon.models.misplaced_links import MAX_MISPLACED, found, sentence
from modelward.daemon.models.scan import scan_root
from modelward.daemon.models.snapshot import RootSeen, VersionSeen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text(name)
    (tmp_path / "stable").symlink_to("v2")
    (tmp_path / "current").symlink_to("v1")
    return tmp_path


def seen(root: Path) -> VersionSeen:
    sight = scan_root(root, IN_ROOT)
    assert isinstance(sight, RootSeen)
    found = sight.version("v1")
    assert found is not None
    return found


MEANT = {
    "as ln -sf leaves it": ("v2", "v2", "v2"),
    "with a slash": ("v2", "v2/", "v2"),
    "from here": ("v2", "./v2", "v2"),
    "over another link": ("stable", "stable", "v2"),
    "as mv leaves it": ("current_new", "v2", "v2"),
    "to the version itself": ("v1", "v1", "v1"),
    "absolute": ("v2", "ROOT/v2", "v2"),
}


@pytest.mark.parametrize("case", MEANT)
def test_a_link_that_was_meant_for_the_root_is_known_by_what_it_names_there(root: Path, case: str) -> None:
    name, target, to = MEANT[case]
    before = seen(root)
    (root / "v1" / name).symlink_to(target.replace("ROOT", str(root)))
    after = seen(root)
    assert after.misplaced == ((name, to),)
    assert after.fingerprint == before.fingerprint, "it is no part of the version"
    assert found(root, "v1") == (name,)
    (root / "v1" / name).unlink()
    assert seen(root).misplaced == () and seen(root).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "target", ["nowhere", "/etc", "../..", "model.onnx", "v3", "../v2/model.onnx", "link", "\udcff", "x" * 4000]
)
def test_any_other_link_is_a_part_of_the_version(root: Path, target: str) -> None:
    before = seen(root)
    (root / "v1" / "link").symlink_to(target)
    assert seen(root).misplaced == () and seen(root).fingerprint != before.fingerprint


def test_a_link_to_a_directory_of_its_own_version_is_a_part_of_it(root: Path) -> None:
    (root / "v1" / "v2").mkdir()
    (root / "v1" / "link").symlink_to("v2")
    assert seen(root).misplaced == ()


def test_below_the_top_of_a_version_there_is_none(root: Path) -> None:
    (root / "v1" / "golden").mkdir()
    (root / "v1" / "golden" / "v2").symlink_to("v2")
    assert seen(root).misplaced == ()


def test_there_is_a_limit_beyond_which_they_are_entries_like_others(root: Path) -> None:
    for number in range(MAX_MISPLACED + 5):
        (root / "v1" / f"link{number}").symlink_to("v2")
    assert len(seen(root).misplaced) == MAX_MISPLACED


def test_what_cannot_be_read_holds_none(root: Path) -> None:
    assert found(root, "v9") == ()
    os.symlink("v1", root / "v8")
    assert found(root, "v8") == ()


def test_the_sentence_has_commands_that_a_shell_takes() -> None:
    text = sentence(Path("/srv/my models"), "current", "v1", "v 2", "v 2")
    assert "`modelward activate 'v 2'`" in text
    assert "`ln -sfn 'v 2' current`" in text
    assert "`rm '/srv/my models/v1/v 2'`" in text


def test_for_a_link_outside_the_root_the_command_has_the_versions_path() -> None:
    text = sentence(Path("/srv/models"), "/var/lib/modelward/current", "v1", "v2", "v2")
    assert "`ln -sfn /srv/models/v2 /var/lib/modelward/current` in /srv/models" in text
