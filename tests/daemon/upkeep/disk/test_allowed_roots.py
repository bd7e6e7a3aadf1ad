"""Which directories may be swept at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelward.daemon.config.protected_paths import PROGRAM, refusal
from modelward.daemon.errors import Refused
from modelward.daemon.upkeep.disk.allowed_roots import open_root
from modelward.daemon.upkeep.fs_port import FileSystemPort


@pytest.mark.parametrize(
    ("path", "because"),
    [
        ("/", "belongs to the system"),
        ("/home", "belongs to the system"),
        ("/etc", "belongs to the system"),
        ("/data", "belongs to the system"),
        ("/var/lib", "belongs to the system"),
        ("/var/log/", "belongs to the system"),
        ("/usr/share/doc", "below a directory of the system"),
        ("/etc/ssl/private", "below a directory of the system"),
        ("uploads", "not an absolute path"),
        ("", "not an absolute path"),
        ("./uploads", "not an absolute path"),
        ("/srv/../etc/x", "written plainly"),
        ("/srv//uploads", "written plainly"),
        ("/home/asr", "home directory"),
        ("/home/asr/", "home directory"),
        ("/srv/asr", "our home directory"),
        ("/home/somebody", "somebody's home directory"),
        ("/dev/shm", "belongs to the system"),
        ("/proc/self", "below a directory of the system"),
        ("/usr/local/lib", "below a directory of the system"),
        ("/var/lib/dpkg", "below a directory of the system"),
        ("/var/lib/dpkg/info", "below a directory of the system"),
        ("/var/spool/cron", "below a directory of the system"),
        ("/var/log/apt", "below a directory of the system"),
        ("/var/log/journal", "below a directory of the system"),
        ("/run/lock", "below a directory of the system"),
        ("/root/.ssh", "below a directory of the system"),
        ("/var/backups", "belongs to the system"),
    ],
)
def test_what_is_not_ours_to_clean_is_refused(path: str, because: str) -> None:
    home = "/srv/asr" if path == "/srv/asr" else "/home/asr"
    assert because in refusal(path, home=home, program=())


@pytest.mark.parametrize("path", ["/opt/modelward", "/opt/modelward/lib", "/opt/vendor", "/opt/modelward/lib/python3"])
def test_what_holds_this_program_or_lies_in_it_is_refused(path: str) -> None:
    program = ("/opt/modelward/lib", "/opt/vendor/python")
    assert "where this program is" in refusal(path, program=program)
    assert refusal("/opt/modelward/uploads", program=program) == ""


def test_this_programs_own_directories_are_refused() -> None:
    assert all(refusal(place) for place in PROGRAM)


@pytest.mark.parametrize("path", ["/srv/uploads", "/var/lib/modelward/uploads", "/home/asr/uploads", "/data/asr"])
def test_a_directory_of_its_own_is_accepted(path: str) -> None:
    assert refusal(path, home="/home/asr") == ""


def test_a_directory_that_holds_our_home_is_refused() -> None:
    assert refusal("/srv/people", home="/srv/people/asr")


def test_a_link_anywhere_on_the_way_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "real/uploads").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(Refused, match=f"{tmp_path}/link is a link"):
        open_root(str(tmp_path / "link/uploads"), FileSystemPort())
    with pytest.raises(Refused, match="is a link"):
        open_root(str(tmp_path / "link"), FileSystemPort())


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="not a directory"):
        open_root(str(tmp_path / "file"), FileSystemPort())


def test_what_does_not_exist_yet_is_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_root(str(tmp_path / "nowhere"), FileSystemPort())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_directory_of_another_owner_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(Refused, match="uid 12345 owns it"):
        open_root(str(tmp_path / "theirs"), FileSystemPort())


def test_opening_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    os.close(open_root(str(tmp_path), FileSystemPort()))
    with pytest.raises(FileNotFoundError):
        open_root(str(tmp_path / "nowhere/deeper"), FileSystemPort())
    assert len(os.listdir("/proc/self/fd")) == before
