"""Log lines of the soak, gathered from the live file, its archives and those that were renamed by hand.

An archive may be given up when its disk is full, so each is read as soon as it is there, and once more as long as it
changes; one that is compressed has its last word said. Invariant: an archive counts once, compressed or not.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.3
_DROPPED = re.compile(r"dropped (\d+) lines: ")


@dataclass
class Lines:
    """What was found: how often each of our requests is named, lines said to be dropped, and lines that are torn."""

    requests: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    notes: int = 0
    torn: int = 0
    mended: int = 0  # a whole line behind the half that a full disk left of another

    def __iadd__(self, other: Lines) -> Lines:
        self.requests.update(other.requests)
        self.dropped, self.notes = self.dropped + other.dropped, self.notes + other.notes
        self.torn, self.mended = self.torn + other.torn, self.mended + other.mended
        return self


def read_access(data: bytes) -> Lines:
    """Counts the lines of an access log."""
    found = Lines()
    for fields in _parsed(data, found):
        request, event = fields.get("request", ""), str(fields.get("event", ""))
        if isinstance(request, str) and request.startswith("soak-"):
            found.requests[request] += 1
        if said := _DROPPED.match(event):
            found.dropped += int(said[1])
            found.notes += 1
    return found


def _parsed(data: bytes, found: Lines) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        fields = _json(line)
        if fields is None:
            found.torn += 1
            whole = line.rfind(b'{"time":')
            fields = _json(line[whole:]) if whole > 0 else None
            found.mended += fields is not None
        if fields is not None:
            yield fields


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


class Gatherer:
    """Follows the archives of a log directory from a thread of its own."""

    def __init__(self, directory: Path, names: Iterable[str] = ("access.log", "modelward.log")) -> None:
        self._directory, self._names = directory, tuple(names)
        self._held: dict[str, tuple[int, bytes]] = {}  # archives by name without ending: size when read, contents
        self._final: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._lock = threading.Lock()

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Reads all there is for the last time."""
        self._over.set()
        self._thread.join(30)
        self.look()

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """One look at every archive."""
        with self._lock:
            for path in sorted(self._directory.iterdir()):
                live = next((n for n in self._names if path.name.startswith(n + ".")), "")
                if live and not path.name.endswith((".part", ".head")):
                    with contextlib.suppress(OSError, EOFError):  # compressed or given up just now
                        self._take(path)

    def _take(self, path: Path) -> None:
        packed = path.name.endswith(".gz")
        name = path.name.removesuffix(".gz")
        if name in self._final:
            return
        size = path.stat().st_size
        if not packed and name in self._held and self._held[name][0] == size:
            return
        data = path.read_bytes()
        self._held[name] = (size, gzip.decompress(data) if packed else data)
        if packed:
            self._final.add(name)

    def contents(self, live: str) -> Iterator[bytes]:
        """The archives of a file and the file itself; to be asked after `end`."""
        for name in sorted(self._held):
            if name.startswith(live + "."):
                yield self._held[name][1]
        with contextlib.suppress(FileNotFoundError):
            yield (self._directory / live).read_bytes()

    def access(self) -> Lines:
        found = Lines()
        for data in self.contents("access.log"):
            found += read_access(data)
        return found

    def events(self) -> list[dict[str, Any]]:
        """The event log of daemon and workers, archive by archive."""
        return [fields for data in self.contents("modelward.log") for fields in _parsed(data, Lines())]

    @property
    def archives(self) -> int:
        return len(self._held)
