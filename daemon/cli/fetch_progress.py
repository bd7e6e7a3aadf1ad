"""Shows a fetch: one line that is rewritten on a terminal, elsewhere a line for each tenth of the way.

It decides nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TextIO

from ...worker.shared.quantities import count, size, span
from ..system.clock import Clock
from .language import local_text, say
from .progress import ProgressLine
from .render import clean

EVERY_SECONDS: Final = 0.2
RATE_SECONDS: Final = 10.0
"""The speed that is shown is that of the last seconds."""
_BAR: Final = 20


class FetchProgress:
    """The line of one fetch; a FetchView."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._line, self._stream, self._clock = ProgressLine(stream), stream, clock
        self._seen: deque[tuple[float, int]] = deque()
        self._shown_at, self._tenth, self._first = 0.0, 0, -1

    def began(self, name: str, files: int, total_bytes: int) -> None:
        """It is known what comes."""
        self._line.end()
        length = size(total_bytes) if total_bytes >= 0 else ""
        what = count(files, "file") + (f", {length}" if length else "")
        say(f"fetching {clean(name)}: {what}", file=self._stream, flush=True)

    def came(self, there_bytes: int, total_bytes: int) -> None:
        """So many bytes have arrived."""
        now = self._clock.monotonic()
        self._seen.append((now, there_bytes))
        while self._seen[0][0] < now - RATE_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        if self._line.in_place:
            if now - self._shown_at >= EVERY_SECONDS:
                self._shown_at = now
                self._line.show(self._text(there_bytes, total_bytes))
        elif total_bytes > 0 and there_bytes * 10 // total_bytes > self._tenth:
            self._tenth = there_bytes * 10 // total_bytes
            self._line.show(local_text(f"{self._tenth * 10}%: {size(there_bytes)} of {size(total_bytes)}"))

    def waits(self, because: str, seconds: float) -> None:
        """A pause before another try."""
        self._line.end()
        say(f"{clean(because)}; trying again in {span(seconds)}", file=self._stream, flush=True)

    def end(self) -> None:
        """Leaves the line free for what comes next."""
        self._line.end()

    def _text(self, there: int, total: int) -> str:
        (since, before), (now, _) = self._seen[0], self._seen[-1]
        speed = (there - before) / (now - since) if now > since else 0.0
        rate = f"  {size(speed)}/s" if speed > 0 else ""
        if total <= 0:
            return local_text(f"{size(there)} came") + rate
        share = min(1.0, there / total)
        full = round(share * _BAR)
        left = f"  {span((total - there) / speed)}" if speed > 0 and there < total else ""
        bar = f"[{'#' * full}{'.' * (_BAR - full)}] {share:4.0%}"
        return f"{bar}  " + local_text(f"{size(there)} of {size(total)}") + rate + left
