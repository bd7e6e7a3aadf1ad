"""Reads a log from its oldest archive to its end, in pieces of whole lines, uncompressed.

It reads by a `Follower`, so a rotation meanwhile costs no line and doubles none. It ends where the log ended when it
came there; what is written faster than it reads is bounded by its caller. Invariant: a piece has about PIECE_BYTES.
"""

from __future__ import annotations

from typing import Final

from .follow import Follower

PIECE_BYTES: Final = 256 * 1024


class WholeLog:
    """The log at `path`. Raises OSError when the file cannot be read. For a thread."""

    def __init__(self, path: str) -> None:
        self._follower = Follower(path, since=0.0)

    def piece(self) -> bytes:
        """The next lines; b"" at the end. What cannot be read has a line in brackets with the reason."""
        while self._follower.behind:
            lines = self._follower.poll(PIECE_BYTES)
            lines += [f"[{remark}]".encode(errors="replace") for remark in self._follower.remarks]
            self._follower.remarks.clear()
            if lines:
                return b"\n".join(lines) + b"\n"
        return b""

    def close(self) -> None:
        self._follower.close()
