"""A disk without room delays a job; with room again it goes on and loses nothing."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import eventually
from tests.worker.jobs.recordings import accepted, at_end, heard, recording, said, seen
from tests.worker.running import digits, worker

pytestmark = pytest.mark.system

PAGE = 4096
LEFT_PAGES = 4
"""For the claim, and for some of the pieces."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB for jobs alone."""
    place, libc = tmp_path / "jobs", ctypes.CDLL(None, use_errno=True)
    place.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=32m,mode=0700") != 0:
        pytest.skip(f"cannot mount a small disk: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(os.fsencode(place), 2)


def fill(disk: Path) -> Path:
    """Takes all room but LEFT_PAGES."""
    filler = disk / ".filler"
    free = os.statvfs(disk).f_bavail
    filler.write_bytes(bytes((free - LEFT_PAGES) * PAGE))
    return filler


def test_a_job_waits_for_room_and_goes_on(tmp_path: Path, disk: Path) -> None:
    with worker(tmp_path / "run", digits(), jobs_dir=str(disk)) as running:
        client = running.client()
        job = accepted(client, recording(8))
        filler = fill(disk)
        said_so = "cannot record a job's progress: No space left on device; it waits for room"
        eventually(lambda: any(line["event"] == said_so for line in running.lines("modelward.log")))
        stuck = seen(client, job)
        assert stuck["state"] == "running" and stuck["progress"] < 1 and seen(client, job)["text"] == stuck["text"]
        assert running.predict(client, recording(1)).status_code == 200
        filler.unlink()
        assert heard(at_end(client, job)["text"]) == said(8)
