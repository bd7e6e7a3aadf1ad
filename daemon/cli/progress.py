"""One line of progress: rewritten in place on a terminal, a line a change elsewhere. Always on standard error.

It watches `GET /v1/status` while another request waits for the decision; what it fails to learn it leaves out.
"""

from __future__ import annotations

import sys
from typing import Any, TextIO

from ..errors import ModelwardError
from .client import Client
from .render import clean, shorten, terminal_columns


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
        try:
            status = self._client.get("/v1/status").data
        except ModelwardError:
            return  # the request that waits will say what is wrong
        rollout, waiting = status.get("rollout"), status.get("waiting")
        if isinstance(rollout, dict):
            self._line.show(describe(rollout))
        elif isinstance(waiting, dict):
            self._line.show(waits(waiting))

    def end(self) -> None:
        """Leaves the line free for the outcome."""
        self._line.end()


def waits(waiting: dict[str, Any]) -> str:
    """A version that waits before its rollout, in one line."""
    return f"{clean(waiting.get('version'))}: {clean(waiting.get('because'))}"


def describe(rollout: dict[str, Any]) -> str:
    """A rollout in one line: version, state, how many workers have it, because."""
    line = f"{clean(rollout.get('version'))}: {clean(rollout.get('state'))}"
    workers = rollout.get("workers")
    if isinstance(workers, list) and workers and all(isinstance(worker, dict) for worker in workers):
        counts: dict[str, int] = {}
        for worker in workers:
            state = clean(worker.get("state"))
            counts[state] = counts.get(state, 0) + 1
        line += " (" + ", ".join(f"{count} {state}" for state, count in counts.items()) + ")"
    because = clean(rollout.get("because"))
    return f"{line}: {because}" if because else line
