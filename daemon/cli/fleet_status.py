"""Shows a fleet: how far its record has come, what each part serves, and which machines need a look."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from msgspec import to_builtins

from ...worker.shared.quantities import span
from ..errors import BadUsage, Refused
from ..fleet.overview import ListedMachine
from ..fleet.record import FleetWave
from ..fleet.signature import MAX_SIGNED_BYTES, read_record
from ..system.safe_read import open_regular
from . import fleet_server
from .fleet_server import FleetPlace, FleetState
from .language import label, local_text, say
from .options import client, print_json
from .render import clean, colours, table, terminal_columns

WAVES = ("WAVE", "MACHINES", "STATE", "SERVING", "PENDING", "FAILED", "BLOCKED", "SILENT", "LATE")
MACHINES = ("MACHINE", "HOST", "WAVE", "STATE", "SERVES", "SEEN", "BECAUSE")


def show(args: argparse.Namespace, place: FleetPlace) -> int:
    """`status`: 0 shown. Raises Refused."""
    found = fleet_server.state(place)
    if args.json:
        _print_json(found)
        return 0
    _headline(found)
    print(table(WAVES, [_wave(found, number) for number in range(len(found.record.waves))], colour=_colour()))
    served = ", ".join(f"{clean(name) or '—'} ×{count}" for name, count in found.overview.versions.items())
    say(f"machines: {found.overview.total}, seen lately: {found.overview.seen}")
    if served:
        print(f"{label('SERVES')}: {served}")
    _machines(found.overview.machines, found.overview.more)
    return 0


def drift(args: argparse.Namespace, place: FleetPlace) -> int:
    """`drift`: machines of open waves that serve something else; 0 none, 1 some. Raises Refused."""
    found = fleet_server.state(place)
    opened = found.progress.open if found.progress.sequence == found.record.sequence else 0
    listed = [machine for machine in found.overview.machines if 0 < machine.wave <= opened]
    if args.json:
        _print_json(listed)
    elif listed:
        _machines(listed, found.overview.more)
    else:
        say(f"all machines of open waves that were seen serve {clean(found.record.version)}")
    return 1 if listed else 0


def show_file(place: Path) -> int:
    """`status` of a record in a file: 0 shown. Raises Refused."""
    try:
        with open_regular(place) as file:
            record = read_record(file.read(MAX_SIGNED_BYTES))
    except OSError as e:
        raise Refused(f"cannot read {clean(place)}: {e.strerror}") from e
    if record is None:
        raise Refused(f"cannot read {clean(place)}: it is no record of this release")
    say(f"record {record.sequence} wants {clean(record.version)} until {record.expires}")
    if record.hold:
        say("the record holds everything")
    return 0


def show_own(args: argparse.Namespace) -> int:
    """What the daemon on this machine has to do with its fleet: 0 shown, 1 there is none, 3 no daemon."""
    answer = client(args).get("/v1/fleet")
    if args.json:
        print_json(answer)
        return 0
    from ..answers.fleet import FleetAnswer

    found = answer.read(FleetAnswer)
    if not found.server:
        raise Refused("cannot show a fleet: fleet.url is not set, and no --to names a server")
    print(f"{clean(found.machine)}: {clean(found.outcome)}: {local_text(clean(found.because))}")
    if found.record is not None:
        wanted = found.record
        say(f"record {wanted.sequence} wants {clean(wanted.version)} until {wanted.expires}")
    for trouble in (found.refused, found.away):
        if trouble:
            say(clean(trouble))
    return 0


def forget(machine: str, place: FleetPlace) -> int:
    """`forget`: the machine is no more; 0 done. Raises BadUsage and Refused."""
    if not machine:
        raise BadUsage("cannot run modelward fleet forget: it needs MACHINE, as status shows it")
    if not fleet_server.forget(place, machine):
        raise Refused(
            f"cannot forget {clean(machine)}: there is no report of it; `modelward fleet status` has the names"
        )
    say(f"{clean(machine)} is forgotten until it reports again")
    return 0


def _headline(found: FleetState) -> None:
    record, progress = found.record, found.progress
    say(f"record {record.sequence} wants {clean(record.version)} until {record.expires}")
    if record.hold:
        say("the record holds everything")
    elif progress.sequence != record.sequence:
        say(
            "no keeper has begun with it yet: one daemon of the fleet needs fleet.keeper = true, and must follow this "
            "record; its `modelward fleet status` has the reason where it does not"
        )
    elif progress.halted:
        say(f"the rollout is halted: {clean(progress.halted)}")
    elif progress.done:
        say("the rollout is done")
    else:
        say(f"{progress.open} of {len(record.waves)} waves are open")
        say(clean(found.because))


def _wave(found: FleetState, number: int) -> tuple[str, ...]:
    count, wave = found.overview.waves[number], found.record.waves[number]
    opened = found.progress.sequence == found.record.sequence and number < found.progress.open
    figures = (count.serving, count.pending, count.failed, count.blocked, count.silent, count.late)
    state = label("open" if opened else "not open")
    return (str(number + 1), _who(wave), state, *map(str, figures))


def _who(wave: FleetWave) -> str:
    return "+".join(wave.labels) if wave.labels else f"{wave.percent:g}%"


def _machines(machines: Iterable[ListedMachine], more: int) -> None:
    rows = [
        (
            clean(m.name), clean(m.host), str(m.wave) if m.wave else "—", label(m.standing), clean(m.serving),
            span(m.seen_seconds), local_text(clean(m.because)),
        )
        for m in machines
    ]  # fmt: skip
    if rows:
        print()
        print(table(MACHINES, rows, columns=terminal_columns(sys.stdout), colour=_colour()))
    if more:
        say(f"{more} more do not serve it")


def _print_json(found: object) -> None:
    """ASCII: machines chose the texts."""
    print(json.dumps(to_builtins(found)))


def _colour() -> bool:
    return colours(sys.stdout)
