"""Whether a sound file is shorter than its own head claims: a part of it was lost on the way. Pure, on bytes.

Only formats whose head has a length are judged. A claim that is a little too large counts the head itself. One that
no upload reaches was written to a pipe. Neither means that anything is missing. Must not read samples.
"""

from __future__ import annotations

from typing import Final

_SPARE_BYTES: Final = 64  # a claim too large by no more counts its own head too
_UNKNOWN_BYTES: Final = 1 << 30  # and above: written to a pipe
_CAF_HEAD_BYTES: Final = 8
_CAF_CHUNK_BYTES: Final = 12  # the name and the length of a chunk
_CAF_CHUNKS: Final = 64  # that are passed over in search of the sound; there are about ten kinds


def lost_its_end(data: bytes, name: str) -> bool:
    """Whether the bytes of a file of the kind `name` end before the length in its head; False where it has none."""
    claimed = _claimed_bytes(data, name)
    return len(data) + _SPARE_BYTES < claimed < _UNKNOWN_BYTES


def _claimed_bytes(data: bytes, name: str) -> int:
    """How long the file is by its own head; 0 where that has no length."""
    match name:
        case "AIFF":
            return 8 + int.from_bytes(data[4:8], "big")
        case "AU":
            return int.from_bytes(data[4:8], "big") + int.from_bytes(data[8:12], "big")
        case "W64":
            return int.from_bytes(data[16:24], "little")
        case "WAV":
            return 8 + int.from_bytes(data[4:8], "big" if data[:4] == b"RIFX" else "little")
        case "CAF":
            return _caf_bytes(data)
    return 0


def _caf_bytes(data: bytes) -> int:
    """Where the chunk with the sound ends; a recorder that was writing gives it a length of -1."""
    position = _CAF_HEAD_BYTES
    for _ in range(_CAF_CHUNKS):
        start = position + _CAF_CHUNK_BYTES
        length = int.from_bytes(data[position + 4 : start], "big", signed=True)
        if start > len(data) or length < 0:
            return 0
        if data[position : position + 4] == b"data":
            return start + length
        position = start + length
    return 0
