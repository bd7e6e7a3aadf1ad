"""What carries a fleet: the interface that each engine offers, and what it raises. It decides nothing.

An engine is requested again and again; no answer of it is trusted before `signature` and `acceptance` checked it. A
wake-up only means that a request may bring something new. Invariant: each call ends, by an answer or EngineAway, within
CALL_SECONDS; chunks come within CALL_SECONDS of each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

from msgspec import Struct

from .reports import MachineReport, ReceivedReport
from .waves import WaveProgress

CALL_SECONDS: Final = 30.0
CHUNK_BYTES: Final = 128 << 10


class EngineAway(Exception):
    """There is no answer, or none that can be used; the text gives the reason. What is served is not affected."""


class NotOffered(EngineAway):
    """The engine answers, and has no such record or file."""


class NoRight(EngineAway):
    """The engine answers, and refuses this client what it requested; the text gives the right command."""


class KeptProgress(Struct, frozen=True):
    """What keepers agree on, and which edition of it this is."""

    progress: WaveProgress
    revision: int = 0


class KeptRecord(Struct, frozen=True):
    """The signed record as it was published, b"" for none, and which edition of it this is."""

    text: bytes = b""
    revision: int = 0


class LeaseTaken(Struct, frozen=True):
    """This keeper acts. `at` is the time by the engine's clock, in wall seconds: keepers' clocks may differ."""

    at: float


class RecordEngine(Protocol):
    """Where a machine gets its record and the files of a version."""

    async def record(self) -> bytes:
        """The signed record, at most MAX_SIGNED_BYTES and one more. Raises EngineAway."""

    def file(self, source: str, name: str, offset: int) -> AsyncIterator[bytes]:
        """A file of a version from a byte on, in chunks; nothing where it ends there. `source` is one of the record's,
        `name` a path of its SHA256SUMS. Raises EngineAway."""

    async def close(self) -> None:
        """Ends its connections; no request follows."""


class FeedbackEngine(RecordEngine, Protocol):
    """An engine that takes reports, and through which keepers agree."""

    async def wake(self) -> None:
        """Returns when something may be new. It may return for nothing, and it may miss news."""

    async def put_report(self, report: MachineReport) -> None:
        """Replaces this machine's report. Raises EngineAway."""

    async def reports(self) -> list[ReceivedReport]:
        """All of them, never a part: raises EngineAway where one cannot be read."""

    async def drop_report(self, name: str) -> bool:
        """Forgets a machine that is no more; False where there is no report of it. Raises EngineAway."""

    async def kept_progress(self) -> KeptProgress:
        """Raises EngineAway; an engine without one answers with that of no record."""

    async def keep_progress(self, progress: WaveProgress, revision: int) -> bool:
        """Keeps it where the edition is still that one; False where another keeper was faster. Raises EngineAway."""

    async def kept_record(self) -> KeptRecord:
        """Raises EngineAway."""

    async def keep_record(self, text: bytes, revision: int) -> bool:
        """Publishes a signed record over that edition; False where another one came meanwhile. Raises EngineAway."""

    async def lease(self, holder: str, seconds: float) -> LeaseTaken | None:
        """Makes this keeper the one that acts, for so long; None while another one does. Raises EngineAway."""
