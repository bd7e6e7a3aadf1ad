"""Who may use the daemon's sockets: the mode of the socket file, once more."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from modelward.daemon.system.peer_access import allowed, warning_of_root

STRANGER = 54321


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "api.sock"
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, 0, 4242)
    return path


def group_of(path: Path) -> int:
    return path.stat().st_gid


def test_root_without_a_service_manager_is_warned_of() -> None:
    assert warning_of_root(0, {}).startswith("the daemon runs as root, without systemd")
    assert warning_of_root(0, {"NOTIFY_SOCKET": "/run/systemd/notify"}) == warning_of_root(STRANGER, {}) == ""


def test_root_and_the_daemons_own_user_always_may(place: Path) -> None:
    assert allowed(0, STRANGER, place)
    assert allowed(os.geteuid(), STRANGER, place)
    assert allowed(0, 0, place.parent / "gone")


def test_members_of_the_sockets_group_may_by_their_first_group_or_another(place: Path) -> None:
    group = group_of(place)
    assert allowed(STRANGER, group, place)
    assert allowed(STRANGER, STRANGER, place, (1, group))
    assert not allowed(STRANGER, STRANGER, place, (1, 2))
    assert not allowed(STRANGER, STRANGER, place, ())


def test_everybody_else_may_not(place: Path) -> None:
    assert not allowed(STRANGER, STRANGER, place)
    assert not allowed(STRANGER, group_of(place), place.parent / "gone"), "without a socket there is no group"


def test_without_the_kernels_list_the_user_database_is_asked(tmp_path: Path) -> None:
    found = next(
        (
            (user.pw_uid, group.gr_gid)
            for group in grp.getgrall()
            for user in pwd.getpwall()
            if user.pw_name in group.gr_mem and user.pw_uid != 0 and user.pw_gid != group.gr_gid
        ),
        None,
    )
    if found is None or os.geteuid() != 0:
        pytest.skip("needs root, and a user with a second group")
    uid, gid = found
    path = tmp_path / "s"
    path.touch()
    os.chown(path, 0, gid)
    assert allowed(uid, STRANGER, path)
