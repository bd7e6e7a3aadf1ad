"""`modelward versions`: each version with its state, the reason of its verdict, size, age and marks."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ..units import size
from .language import label, say
from .options import (
    client,
    json_option,
    print_json,
    socket_option,
)
from .render import (
    Cell,
    age,
    clean,
    colours,
    table,
    terminal_columns,
)

if TYPE_CHECKING:
    from ..answers.versions import VersionReport

_COLOURS: Final = {"accepted": "green", "rejected": "red", "validating": "yellow", "settling": "yellow"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json, --socket."""
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown, 3 no daemon."""
    answer = client(args).get("/v1/versions")
    if args.json:
        print_json(answer)
        return 0
    from ..answers.versions import VersionsAnswer

    found = answer.read(VersionsAnswer)
    if found.versions:
        now = datetime.now(UTC)
        rows = [row(version, now) for version in found.versions]
        headers = ("VERSION", "STATE", "SIZE", "AGE", "MARKS", "BECAUSE")
        print(table(headers, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    else:
        say("no version yet: copy a directory under the model root")
    for version in found.versions:
        if version.unchosen_because:
            say(f"not chosen {clean(version.version)}: {clean(version.unchosen_because)}")
    for entry in found.ignored:
        say(f"ignored {clean(repr(entry.name))}: {clean(entry.because)}")
    return 0


def row(version: VersionReport, now: datetime) -> list[Cell]:
    """One version as cells."""
    state = clean(version.state)
    return [
        clean(version.version),
        (label(state), _COLOURS.get(state, "")),
        size(version.bytes),
        age(version.arrived, now),
        marks(version),
        because(version),
    ]


def marks(version: VersionReport) -> str:
    """live, serving (by how many), held."""
    words = [label("live")] if version.live else []
    words += [f"{label('serving')} x{len(version.serving)}"] if version.serving else []
    words += [label("held")] if version.held else []
    return ", ".join(words) or "-"


def because(version: VersionReport) -> str:
    """What it is waiting for, why it was not chosen, or the reason of the verdict; "-" while there is nothing."""
    verdict = version.verdict
    because = version.waiting or version.unchosen_because or (verdict.because if verdict is not None else "")
    return clean(because) or "-"
