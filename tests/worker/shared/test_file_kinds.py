"""What is no regular file is called the same everywhere."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from modelward.worker.shared.file_kinds import kind_of


def test_names_every_kind_that_lies_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a directory").mkdir()
    (tmp_path / "a file").touch()
    (tmp_path / "a symbolic link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a FIFO")
    here = os.open(tmp_path, os.O_PATH)  # the path of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{here}/a socket")
    os.close(here)
    found = {path.name: kind_of(path.lstat().st_mode) for path in tmp_path.iterdir()}
    assert found == {name: name for name in found} and len(found) == 5
    assert kind_of(os.stat("/dev/null").st_mode) == "a device"
