"""Links, FIFOs and sockets in a class: they go by its rules, and none is opened or followed."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from tests.daemon.upkeep.sweeping import (
    LATER,
    make,
    names,
    of,
    orders,
    run,
)

from modelward.daemon.upkeep.disk import reasons
from modelward.daemon.upkeep.disk.quota import ClassRule
from modelward.daemon.upkeep.disk.special_files import SpecialUsers
from modelward.daemon.upkeep.fs_port import FileSystemPort

ODD = ("link", "dangling", "pipe", "socket")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A class with one of each kind, and `outside` beside it with a file that a link names."""
    found = tmp_path / "class"
    make(tmp_path / "outside/precious")
    found.mkdir()
    (found / "link").symlink_to("../outside/precious")
    (found / "dangling").symlink_to("/nowhere")
    os.mkfifo(found / "pipe")
    bound(found / "socket").close()
    return found


def bound(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    here = os.open(path.parent, os.O_RDONLY)
    found.bind(f"/proc/self/fd/{here}/{path.name}")  # the path itself may be too long
    os.close(here)
    return found


def test_old_ones_go_and_what_a_link_leads_to_stays(root: Path) -> None:
    outcome = run(orders(root))
    assert names(root) == []
    assert of(outcome).removed == {"older than 1d": (4, 0)}
    assert (root.parent / "outside/precious").exists()


def test_a_dry_run_reports_them_and_they_stay(root: Path) -> None:
    assert run(orders(root, dry_run=True)).removed_files == 4
    assert names(root) == sorted(ODD)


def test_a_limit_on_files_counts_them_so_that_inodes_cannot_be_used_up(root: Path) -> None:
    for number in range(200):
        os.mkfifo(root / f"pipe{number}")
        (root / f"link{number}").symlink_to("/nowhere")
    run(orders([ClassRule("uploads", str(root), max_files=10)]))
    assert len(names(root)) == 10


def test_a_limit_on_bytes_takes_files_and_leaves_what_takes_no_bytes(root: Path) -> None:
    for number in range(4):
        make(root / f"{number}.wav", 4096)
    run(orders([ClassRule("uploads", str(root), max_bytes=8192)]))
    left = names(root)
    assert set(ODD) <= set(left) and len(left) == 6


def test_a_pipe_and_a_socket_in_use_are_kept(root: Path) -> None:
    (root / "socket").unlink()
    with bound(root / "socket") as listening:
        listening.listen()
        reading = os.open(root / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        outcome = run(orders(root))
        os.close(reading)
        assert names(root) == ["pipe", "socket"]
    assert of(outcome).spared["in use by a process"][0] == 2
    run(orders(root))
    assert names(root) == []


def test_none_of_them_is_opened(root: Path) -> None:
    opened: list[str] = []

    def recorded(path: str, *args: int, **kwargs: int) -> int:
        opened.append(path)
        return os.open(path, *args, **kwargs)

    run(orders(root), files=FileSystemPort(open=recorded))
    assert names(root) == [] and root.name in opened
    assert not set(ODD) & set(opened)


def test_young_ones_stay(root: Path) -> None:
    for name in ODD:
        os.utime(root / name, (LATER, LATER), follow_symlinks=False)
    run(orders(root))
    assert names(root) == sorted(ODD)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_a_device_stays(root: Path) -> None:
    try:
        os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices can be made here")
    outcome = run(orders(root))
    assert names(root) == ["null"]
    assert of(outcome).spared == {"a device": (1, 0)}


def test_links_are_never_in_use_and_a_pipe_is_asked_about_by_its_inode(root: Path) -> None:
    users = SpecialUsers()
    facts = (root / "pipe").lstat()
    fd = os.open(root / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert users.held(facts.st_mode, "whatever", facts.st_dev, facts.st_ino) == reasons.IN_USE
    os.close(fd)
    assert users.held((root / "link").lstat().st_mode, "link", 0, 0) == 0
