"""What `modelward fleet` does with a NATS server: publish, halt, resume, go back, and read how far a fleet is.

Each command is one connection with the operator's credentials; no daemon is needed. It decides nothing about waves.
Invariant: a record is published only after all its files are on the server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

from msgspec import Struct

from ...worker.shared.minisign_keys import SecretKey
from ..errors import Refused
from ..fleet.engine import EngineAway, KeptRecord, NoRight, NotOffered
from ..fleet.engines import nats_engine
from ..fleet.manifest import names
from ..fleet.nats_names import MODELS, OPERATOR
from ..fleet.overview import FleetOverview, overview
from ..fleet.publishing import followed_above, former, next_number
from ..fleet.record import BadRecord, FleetRecord
from ..fleet.reports import MachineReport, ReceivedReport
from ..fleet.signature import open_record, read_record, sign_record
from ..fleet.waves import WaveProgress, next_step, resumed, stopped
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
    because: str


Draft = Callable[[int, str], FleetRecord]


def publish(place: FleetPlace, directory: Path, key: SecretKey, draft: Draft, sequence: int) -> FleetRecord:
    """Puts the files and then the record onto the server. `draft` gets its number and where the files are.

    With a `sequence` of 0 the number is one more than before. Raises Refused, BadRecord, CannotSign.
    """

    async def work(engine: NatsEngine) -> FleetRecord:
        from ..fleet import nats_publisher

        for made in await nats_publisher.prepare(engine.connection):
            say(f"made the stream {made}")
        kept = await engine.kept_record()
        number = next_number(_last_number(kept, key, sequence), sequence)
        reports = [received.report for received in await engine.reports()]
        above = followed_above(number, reports)
        if not sequence and 2 * len(above) > len(reports):
            raise Refused(f"cannot publish: {_followed(above)}; if that is right, --sequence N gives a higher number")
        record = draft(number, MODELS)
        text = sign_record(record, key)
        await _send(engine, record, directory, key)
        await _keep(engine, text, kept)
        if above:
            say(f"{_followed(above)}, and do not follow number {number}", file=sys.stderr)
        return record

    return on_server(place, work)


async def _send(engine: NatsEngine, record: FleetRecord, directory: Path, key: SecretKey) -> None:
    """Puts the files onto the server, after what no record wants is removed."""
    from ..fleet import nats_publisher, nats_room

    connection, files = engine.connection, names(directory)
    into = _directories([record])[-1]
    texts = await engine.records()
    kept = [found for found in map(read_record, texts) if found is not None]
    last = kept[-1:]
    if own := [opened for text in texts if (opened := _opened(text, key)) is not None]:
        with suppress(BadRecord):  # there is none
            last.append(former(own))
    if not await nats_room.limit_versions(connection):
        say(
            "the server's account has no limit: when versions fill its storage, nothing can be halted any more; "
            "give the account max_file in nats.conf",
            file=sys.stderr,
        )
    await nats_room.make_room(
        connection,
        await nats_publisher.missing_bytes(connection, directory, files, into),
        [into, *_directories(kept)],
        [into, *_directories(last)],
        lambda: say("there is little room: only what the present and the former record want stays", file=sys.stderr),
    )
    await nats_publisher.upload(connection, directory, files, into, lambda name: say(f"sends {clean(name)}"))


def _directories(records: Sequence[FleetRecord]) -> list[str]:
    """Where their files lie in the object store."""
    sources = [source for each in records for source in each.sources if source.startswith("object:")]
    return [source.partition("/")[2] for source in sources]


def _opened(text: bytes, key: SecretKey) -> FleetRecord | None:
    """A record that this key signed; None for another one."""
    try:
        return open_record(text, [key.public]).record
    except BadRecord:
        return None


def _last_number(kept: KeptRecord, key: SecretKey, wanted: int) -> int:
    """That of the record on the server, 0 for none. Raises Refused where it is not of this key."""
    if not kept.revision:
        return 0
    try:
        return open_record(kept.text, [key.public]).record.sequence
    except BadRecord as e:
        if wanted:
            return 0
        raise Refused(
            f"cannot publish: the record on the server is not of this key: {e}; --sequence N replaces it"
        ) from e


def _followed(above: Sequence[MachineReport]) -> str:
    """Which machines follow a higher number, the highest last."""
    lowest, highest = above[0], above[-1]
    return (
        f"{len(above)} machines report that they follow a higher number, from {lowest.sequence} "
        f"({clean(lowest.name)}) to {highest.sequence} ({clean(highest.name)})"
    )


async def _keep(engine: NatsEngine, text: bytes, kept: KeptRecord) -> None:
    """Raises Refused where the record is no longer the one that was read."""
    if not await engine.keep_record(text, kept.revision):
        raise Refused(
            "cannot publish: another record came meanwhile, which stays; `modelward fleet status` shows it, and the "
            "same command publishes over it"
        )


def again(
    place: FleetPlace, key: SecretKey, version: str, make: Callable[[FleetRecord, FleetRecord], FleetRecord]
) -> FleetRecord:
    """Publishes what `make` makes of the present record and of the former one; see `publishing.former`.

    Records that this key did not sign do not count: the server could have written them. Raises Refused and BadRecord.
    """

    async def work(engine: NatsEngine) -> FleetRecord:
        kept = await engine.kept_record()
        if not kept.revision:
            raise BadRecord("the server has no record")
        present = open_record(kept.text, [key.public]).record
        published = [_opened(text, key) for text in await engine.records()]
        earlier = [each for each in published if each is not None and each.sequence < present.sequence]
        record = make(present, former([*earlier, present], version))
        await _keep(engine, sign_record(record, key), kept)
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
        now = SystemClock().wall()
        because = next_step(record, progress, reports, now).because
        return FleetState(record, progress, overview(record, progress, reports, now), because)

    return on_server(place, work)


def forget(place: FleetPlace, machine: str) -> bool:
    """Removes the report of a machine that is no more; False where there is none. Raises Refused."""
    return on_server(place, lambda engine: engine.drop_report(machine))


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
    except NotOffered as e:
        raise Refused(f"cannot find a fleet on the server, which answers: {e}") from e
    except NoRight as e:
        raise Refused(f"cannot do that on the server: {e}") from e
    except EngineAway as e:
        raise Refused(f"cannot reach the fleet: {e}") from e
