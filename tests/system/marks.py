"""What a house said since a moment: its history and its event log, oldest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.house import House


@dataclass(frozen=True)
class Mark:
    """A moment in a house's life; see `mark`."""

    house: House
    last_id: int
    lines: int

    def history(self, kind: str = "") -> list[dict[str, Any]]:
        """Entries that came after it, of one kind or of any."""
        return [e for e in reversed(self.house.history(kind)) if e["id"] > self.last_id]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Lines of the event log that came after it, with these names or with any."""
        return [e for e in self.house.events()[self.lines :] if not names or e["event"] in names]

    def loads(self) -> int:
        """How many times a worker loaded a model."""
        return len(self.events("prepared"))


def mark(house: House) -> Mark:
    """Now."""
    entries = house.history()
    return Mark(house, entries[0]["id"] if entries else 0, len(house.events()))


def at(event: dict[str, Any]) -> float:
    """When an event happened, wall seconds."""
    return datetime.fromisoformat(event["time"]).timestamp()
