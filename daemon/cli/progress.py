"""One line of progress on standard error: rewritten in place on a terminal, elsewhere a line for each
change.

It reads `GET /v1/status` while another request waits for the decision, and leaves out what it cannot read.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, TextIO

from ..errors import ModelwardError
from .client import Client
from .columns import shorten
from .language import label, local_text
from .render import clean, terminal_columns

if TYPE_CHECKING:
    from ..answers.rollouts import RolloutAnswer
    from ..answers.status import VersionReason


class ProgressLine:
    """A line of progress on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._columns = terminal_columns(stream)
        self._last = ""

    @property
    def in_place(self) -> bool:
        """Whether a line can be rewritten there."""
        return self._columns > 0

    def show(self, text: str) -> None:
        """One line, once."""
        if text == self._last:
            return
        self._last = text
        if self._columns:
            self._stream.write("\r\x1b[K" + shorten(text, self._columns - 1))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Leaves the line free for what comes next."""
        if self._columns and self._last:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._last = ""


class Progress:
    """Shows the rollout that is going on behind `client`."""

    def __init__(self, client: Client, stream: TextIO | None = None) -> None:
        self._client, self._line = client, ProgressLine(stream or sys.stderr)

    def tick(self) -> None:
        """Looks once and shows what changed."""
        from ..answers.status import StatusAnswer

        try:
            status = self._client.get("/v1/status").read(StatusAnswer)
        except ModelwardError:
            return  # the request that waits will report what is wrong
        if status.rollout is not None:
            self._line.show(describe(status.rollout))
        elif status.waiting is not None:
            self._line.show(waits(status.waiting))

    def end(self) -> None:
        """Leaves the line free for the outcome."""
        self._line.end()


def waits(waiting: VersionReason) -> str:
    """A version that waits before its rollout, in one line."""
    return f"{clean(waiting.version)}: {local_text(clean(waiting.because))}"


def describe(rollout: RolloutAnswer) -> str:
    """A rollout in one line: version, state, how many workers have it, because."""
    line = f"{clean(rollout.version)}: {label(clean(rollout.state))}"
    if counts := Counter(clean(worker.state) for worker in rollout.workers):
        line += " (" + ", ".join(f"{count} {label(state)}" for state, count in counts.items()) + ")"
    because = local_text(clean(rollout.because))
    return f"{line}: {because}" if because else line
