"""Configured paths are opened where their owner put them, and nowhere else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from modelward.daemon.system.safe_paths import open_directory, open_file

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")


def names(path: Path) -> list[str]:
    fd = open_directory(str(path))
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory `real/log` of ours with a file in it."""
    (tmp_path / "real/log").mkdir(parents=True)
    (tmp_path / "real/log/app.log").write_text("line\n")
    return tmp_path


@pytest.mark.parametrize("target", ["real", "./real", "../{}/real", "{abs}/real"])
def test_a_link_that_only_we_can_change_is_followed(place: Path, target: str) -> None:
    (place / "link").symlink_to(target.replace("{abs}", str(place)).replace("{}", place.name))
    assert names(place / "link/log") == ["app.log"]
    os.close(open_file(str(place / "link/log/app.log"), os.O_RDONLY))


def test_a_chain_of_links_of_ours_is_followed_and_an_endless_one_ends(place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("real/log")
    (place / "c").symlink_to("c")
    assert names(place / "a") == ["app.log"]
    with pytest.raises(OSError, match="too many links"):
        open_directory(str(place / "c"))


@root_only
@pytest.mark.parametrize("owner", [(0, NOBODY), (NOBODY, 0), (NOBODY, NOBODY)])
def test_a_link_that_another_user_can_change_is_refused_with_its_name_and_owner(
    place: Path, owner: tuple[int, int]
) -> None:
    theirs = place / "theirs"
    theirs.mkdir()
    (theirs / "app").symlink_to(place / "real")
    os.chown(theirs / "app", owner[1], owner[1], follow_symlinks=False)
    os.chown(theirs, owner[0], owner[0])
    with pytest.raises(OSError, match=f"{theirs}/app is a link that uid {NOBODY} can change") as raised:
        open_directory(str(theirs / "app/log"))
    assert raised.value.errno == errno.ELOOP
    with pytest.raises(OSError, match="is a link that uid"):
        open_file(str(theirs / "app/log/app.log"), os.O_RDONLY)


@root_only
def test_a_directory_of_another_user_is_walked_as_long_as_it_is_no_link(place: Path) -> None:
    os.chown(place / "real", NOBODY, NOBODY)
    assert names(place / "real/log") == ["app.log"]


@root_only
@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_link_in_a_directory_that_others_may_write_to_is_refused(place: Path, mode: int) -> None:
    (place / "open").mkdir()
    (place / "open/app").symlink_to(place / "real")
    os.chown(place / "open", 0, 12345)
    (place / "open").chmod(mode)
    with pytest.raises(OSError, match="is a link"):
        open_directory(str(place / "open/app/log"))


def test_a_link_of_ours_in_a_sticky_directory_is_followed(place: Path) -> None:
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o1777)
    (place / "tmp/app").symlink_to(place / "real")
    assert names(place / "tmp/app/log") == ["app.log"]


def test_the_last_name_of_a_file_is_never_followed_and_that_of_a_directory_only_when_asked(place: Path) -> None:
    (place / "real/log/other.log").symlink_to("app.log")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        open_file(str(place / "real/log/other.log"), os.O_RDONLY)
    (place / "last").symlink_to("real")
    with pytest.raises(OSError, match="last is a link"):
        open_directory(str(place / "last"), last_link=False)


@pytest.mark.parametrize(("path", "code"), [("nowhere", errno.ENOENT), ("real/log/app.log", errno.ENOTDIR)])
def test_what_is_not_there_or_no_directory_is_reported_as_such(place: Path, path: str, code: int) -> None:
    with pytest.raises(OSError, match=os.strerror(code)):
        open_directory(str(place / path))


def test_a_path_that_is_not_absolute_is_refused() -> None:
    with pytest.raises(OSError, match="not an absolute path"):
        open_directory("var/log")


def test_whatever_happens_no_descriptor_is_left_behind(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (place / "c").symlink_to("c")
    os.close(open_directory(str(place / "real/log")))
    for path in ("c", "nowhere/deeper", "real/log/app.log"):
        with pytest.raises(OSError, match="too many links|No such file|Not a directory"):
            open_directory(str(place / path))
    assert len(os.listdir("/proc/self/fd")) == before
