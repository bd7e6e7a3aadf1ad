"""Keeps the series in a file, so that charts survive a restart of the daemon; to be used on a thread.

One file, replaced whole, with a checksum: what is damaged or of another make is refused with its reason and costs the
series only. Invariant: at most MAX_BYTES are read.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.msgpack import decode, encode

from ...worker.shared.durable_files import replace_file
from ...worker.shared.unreadable import UNREADABLE
from ..system.safe_read import open_regular

NAME: Final = "series.bin"
"""In the state directory."""
MAX_BYTES: Final = 4 << 20
_MAGIC: Final = b"modelward series 1\n"
_SUM_BYTES: Final = 4
T = TypeVar("T", bound=Struct)


class BadSeriesFile(ValueError):
    """The file holds no series of ours; the text gives the reason."""


def write(path: Path, record: Struct) -> None:
    """Replaces the file. Raises OSError; then the old one is intact."""
    content = encode(record)
    replace_file(path, _head(content) + content)


def read(path: Path, kind: type[T]) -> T | None:
    """What was written last, None where there is no file. Raises OSError or BadSeriesFile."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise BadSeriesFile(f"it is larger than {MAX_BYTES} bytes")
    content = data[len(_MAGIC) + _SUM_BYTES :]
    if not data.startswith(_head(content)):
        raise BadSeriesFile("its checksum is wrong")
    try:
        return decode(content, type=kind)
    except UNREADABLE as e:
        raise BadSeriesFile(str(e)) from e


def _head(content: bytes) -> bytes:
    return _MAGIC + zlib.crc32(content).to_bytes(_SUM_BYTES, "big")
