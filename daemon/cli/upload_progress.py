"""The progress of one file, as a line on a terminal that is rewritten; nothing where there is no
terminal.

It decides nothing. It shows the share that was sent, then for how long the service has been recognising. Invariant: at
the end the line is removed.
"""

from __future__ import annotations

import shutil
import time
from typing import Final, TextIO

from .columns import shorten, width
from .language import label, local_text
from .render import clean

AFTER_SECONDS: Final = 0.5
"""A file that is through sooner needs no line."""
EVERY_SECONDS: Final = 0.1
_BAR: Final = 20


class UploadProgress:
    """The line of one file. `total` is in bytes, None when it is not known."""

    def __init__(self, stream: TextIO, name: str, total: int | None) -> None:
        self._stream, self._name, self._total = stream, clean(name), total
        self._on = stream.isatty()
        self._began = self._shown = time.monotonic()
        self._sent = 0
        self._whole_since: float | None = None
        self._drawn = False

    def sent(self, amount: int) -> None:
        """So many bytes more went out."""
        self._sent += amount
        self._draw()

    def waits(self) -> None:
        """Everything went out; the answer is waited for. May be called again and again."""
        if self._whole_since is None:
            self._whole_since = time.monotonic()
        self._draw()

    def end(self) -> None:
        """Takes the line away."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def _draw(self) -> None:
        now = time.monotonic()
        if not self._on or now - self._began < AFTER_SECONDS or (self._drawn and now - self._shown < EVERY_SECONDS):
            return
        self._shown, self._drawn = now, True
        what = self._what(now)
        columns = max(20, shutil.get_terminal_size().columns - 1)
        name = shorten(self._name, max(8, columns - width(what) - 2))
        self._stream.write(f"\r\x1b[K{name}  {what}")
        self._stream.flush()

    def _what(self, now: float) -> str:
        if self._whole_since is not None:
            return f"{label('recognising')}, {now - self._whole_since:.0f} s"
        if not self._total:
            return local_text(f"{self._sent / (1 << 20):.1f} MiB sent")
        share = min(1.0, self._sent / self._total)
        full = round(share * _BAR)
        return f"[{'#' * full}{'.' * (_BAR - full)}] {share:4.0%} {label('sent')}"
