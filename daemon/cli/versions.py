"""`modelward versions`: each version with its state, the reason of its verdict, size, age and marks."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any, Final

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
    items,
    size,
    table,
    terminal_columns,
)

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
    versions = items(answer.data, "versions")
    ignored = items(answer.data, "ignored") if "ignored" in answer.data else []
    if not versions:
        print("no version yet: copy a directory under the model root")
        _print(ignored)
        return 0
    now = datetime.now(UTC)
    rows = [row(version, now) for version in versions]
    headers = ("VERSION", "STATE", "SIZE", "AGE", "MARKS", "BECAUSE")
    print(table(headers, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    _print(ignored)
    return 0


def _print(ignored: list[dict[str, Any]]) -> None:
    for entry in ignored:
        print(f"ignored {clean(repr(entry.get('name')))}: {clean(entry.get('because'))}")


def row(version: dict[str, Any], now: datetime) -> list[Cell]:
    """One version as cells."""
    state = clean(version.get("state"))
    return [
        clean(version.get("version")),
        (state, _COLOURS.get(state, "")),
        size(version.get("bytes")),
        age(version.get("arrived"), now),
        marks(version),
        because(version),
    ]


def marks(version: dict[str, Any]) -> str:
    """live, serving (by how many), held."""
    serving = version.get("serving")
    count = len(serving) if isinstance(serving, list) else 0
    words = ["live"] if version.get("live") else []
    words += [f"serving x{count}"] if count else []
    words += ["held"] if version.get("held") else []
    return ", ".join(words) or "-"


def because(version: dict[str, Any]) -> str:
    """What it is waiting for, or the reason of the verdict; "-" while there is neither."""
    verdict = version.get("verdict")
    text = clean(verdict.get("because")) if isinstance(verdict, dict) else ""
    return clean(version.get("waiting")) or text or "-"
