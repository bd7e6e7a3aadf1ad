"""Directories of a disk that does not answer: whoever touches them waits until the block ends.

A FUSE file system that greets the kernel and then answers nothing, for root alone. Who waits for it can be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

_DETACH = 2
_PARALLEL = 1 << 18
"""The kernel may look up several names of one directory at a time."""


@contextlib.contextmanager
def hung(*places: Path) -> Iterator[None]:
    """Nothing below these directories answers for as long as the block runs. Skips where that can't be."""
    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.ExitStack() as stack:
        for place in places:
            try:
                device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
            except OSError as e:
                pytest.skip(f"cannot mount a disk that hangs: /dev/fuse: {e.strerror}")
            stack.callback(os.close, device)
            options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
            if libc.mount(b"hung", os.fsencode(place), b"fuse", 0, options.encode()) != 0:
                pytest.skip(f"cannot mount a disk that hangs: {os.strerror(ctypes.get_errno())}")
            stack.callback(libc.umount2, os.fsencode(place), _DETACH)
            _greet(device)
        yield


def _greet(device: int) -> None:
    """Answers the first request. Without that, those who wait for one directory hold locks that outlive SIGKILL."""
    _, _, unique = struct.unpack_from("=IIQ", os.read(device, 1 << 16))
    answer = struct.pack("=IIIIHHIIHHI28x", 7, 31, 1 << 17, _PARALLEL, 12, 9, 1 << 17, 1, 0, 0, 0)
    os.write(device, struct.pack("=IiQ", 16 + len(answer), 0, unique) + answer)
