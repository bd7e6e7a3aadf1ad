"""How much of a disk may still be written."""

from __future__ import annotations

import os
from pathlib import Path

from modelward.daemon.system.disk_room import DiskRoom, disk_room


def test_room_is_what_a_user_may_write_without_what_must_stay_free() -> None:
    room = DiskRoom(free_bytes=3 << 30, reserve_bytes=1 << 30)
    assert room.bytes == 2 << 30
    assert str(room) == "3GiB free, 1GiB must stay free (disk.min_free)"


def test_a_path_and_a_descriptor_have_the_room_of_their_disk(tmp_path: Path) -> None:
    sizes = list[int]()

    def reserve(total_bytes: int) -> int:
        sizes.append(total_bytes)
        return total_bytes

    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert disk_room(tmp_path, reserve).bytes <= 0
        assert disk_room(fd, reserve).bytes <= 0
    finally:
        os.close(fd)
    found = os.statvfs(tmp_path)
    assert sizes == [found.f_blocks * found.f_frsize] * 2
