"""What `modelward fleet` does with a NATS server: publish, halt, resume, go back, and read how far a fleet is.

Each command is one connection with the operator's credentials; no daemon is needed. It decides nothing about waves.
Invariant: a record is published only after all its files are on the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

from msgspec import Struct

from ...worker.shared.minisign_keys import SecretKey
from ..errors import Refused
from ..fleet.engine import EngineAway, NotOffered
from ..fleet.engines import nats_engine
from ..fleet.manifest import names
from ..fleet.nats_names import MODELS, OPERATOR
from ..fleet.overview import FleetOverview, overview
from ..fleet.record import BadRecord, FleetRecord
from ..fleet.reports import ReceivedReport
from ..fleet.signature import open_record, read_record, sign_record
from ..fleet.waves import WaveProgress, resumed, stopped
from ..system.clock import SystemClock
from .language import say
from .render import clean

if TYPE_CHECKING:
    from ..fleet.nats_engine import NatsEngine

T = TypeVar("T")
MAX_TRIES: Final = 20


class FleetPlace(Struct, frozen=True):
    """Where the record is, and what is needed to get there."""

    url: str
    credentials: str = ""
    ca_file: str = ""


class FleetState(Struct, frozen=True):
    """What is on the server now."""

    record: FleetRecord
    progress: WaveProgress
    overview: FleetOverview


Draft = Callable[[int, str], FleetRecord]


def publish(place: FleetPlace, directory: Path, key: SecretKey, draft: Draft, sequence: int) -> FleetRecord:
    """Puts the files and then the record onto the server. `draft` gets its number and where the files are.

    With a `sequence` of 0 the number is one more than before. Raises Refused, BadRecord, CannotSign.
    """

    async def work(engine: NatsEngine) -> FleetRecord:
        from ..fleet import nats_publisher

        for made in await nats_publisher.prepare(engine.connection):
            say(f"made the stream {made}")
        number = sequence or await _last_sequence(engine, key) + 1
        record = draft(number, MODELS)
        into = record.sources[0].partition("/")[2]
        text = sign_record(record, key)
        await nats_publisher.upload(
            engine.connection, directory, names(directory), into, lambda name: say(f"sends {clean(name)}")
        )
        await engine.keep_record(text)
        kept = [read_record(each) for each in await engine.records()]
        wanted = [source.partition("/")[2] for each in kept if each is not None for source in each.sources]
        await nats_publisher.tidy(engine.connection, wanted)
        return record

    return on_server(place, work)


async def _last_sequence(engine: NatsEngine, key: SecretKey) -> int:
    """The highest number that is known: of the record, and of what machines follow, for a server that lost its own."""
    last = 0
    try:
        last = open_record(await engine.record(), [key.public]).record.sequence
    except NotOffered:
        pass
    except BadRecord as e:
        raise Refused(
            f"cannot publish: the record on the server is not of this key: {e}; --sequence N replaces it"
        ) from e
    return max([last, *(received.report.sequence for received in await engine.reports())])


def again(place: FleetPlace, key: SecretKey, make: Callable[[FleetRecord, FleetRecord], FleetRecord]) -> FleetRecord:
    """Publishes what `make` makes of the present record and of the last one that wanted another version."""

    async def work(engine: NatsEngine) -> FleetRecord:
        now = open_record(await engine.record(), [key.public]).record
        earlier = [read_record(each) for each in await engine.records()]
        former = next((each for each in reversed(earlier) if each is not None and each.version != now.version), None)
        if former is None:
            raise Refused(f"cannot go back: the server has no record before the one that wants {clean(now.version)}")
        record = make(now, former)
        await engine.keep_record(sign_record(record, key))
        return record

    return on_server(place, work)


def halt(place: FleetPlace, because: str) -> FleetRecord:
    """No machine begins anything any more. Raises Refused."""
    return _changed(place, lambda progress: stopped(progress, because))


def resume(place: FleetPlace) -> FleetRecord:
    """A halted rollout goes on: what failed is tried once more. Raises Refused."""
    return _changed(place, resumed)


def _changed(place: FleetPlace, change: Callable[[WaveProgress], WaveProgress]) -> FleetRecord:
    async def work(engine: NatsEngine) -> FleetRecord:
        record = await _record(engine)
        for _ in range(MAX_TRIES):
            kept = await engine.kept_progress()
            progress = kept.progress if kept.progress.sequence == record.sequence else WaveProgress(record.sequence)
            if await engine.keep_progress(change(progress), kept.revision):
                return record
        raise Refused("cannot do that: keepers change the rollout all the time; try again")

    return on_server(place, work)


def state(place: FleetPlace) -> FleetState:
    """Raises Refused."""

    async def work(engine: NatsEngine) -> FleetState:
        record, progress = await _record(engine), (await engine.kept_progress()).progress
        reports: list[ReceivedReport] = await engine.reports()
        return FleetState(record, progress, overview(record, progress, reports, SystemClock().wall()))

    return on_server(place, work)


def forget(place: FleetPlace, machine: str) -> None:
    """Removes the report of a machine that is no more. Raises Refused."""
    on_server(place, lambda engine: engine.drop_report(machine))


async def _record(engine: NatsEngine) -> FleetRecord:
    """The record on the server, for people: its signature is checked by machines. Raises Refused and EngineAway."""
    found = read_record(await engine.record())
    if found is None:
        raise Refused("cannot read the record on the server: it is none of this release")
    return found


def on_server(place: FleetPlace, work: Callable[[NatsEngine], Awaitable[T]]) -> T:
    """The result of `work`. Raises Refused where the server does not answer."""

    async def run() -> T:
        engine = nats_engine(
            place.url, name=OPERATOR, credentials=place.credentials, ca_file=place.ca_file, clock=SystemClock()
        )
        try:
            return await work(cast("NatsEngine", engine))
        finally:
            await engine.close()

    try:
        return asyncio.run(run())
    except EngineAway as e:
        raise Refused(f"cannot reach the fleet: {e}") from e
