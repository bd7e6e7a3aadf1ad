"""`modelward status`: the whole on one screen; with --watch it stays and follows the daemon's events."""

from __future__ import annotations

import argparse
import sys
import threading
from functools import partial
from typing import Any, Final

from ..errors import ModelwardError, Unreachable
from ..units import percent
from .client import Client
from .options import client, json_option, socket_option
from .progress import describe, waits
from .render import (
    clean,
    colours,
    items,
    paint,
    size,
    span,
    table,
    terminal_columns,
)
from .workers import HEADERS
from .workers import row as worker_row

_EVERY_SECONDS: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[J"


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json, --watch, --socket."""
    parser.add_argument("--watch", action="store_true", help="stay and show it again whenever something changes")
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown, 3 no daemon."""
    daemon = client(args)
    if not args.watch:
        print(_screen(daemon, args.json))
        return 0
    return _watch(daemon, args.json)


def _watch(daemon: Client, as_json: bool) -> int:
    """Until it is interrupted. A daemon that goes away is said and waited for; one that never was there is not."""
    from ...worker.shared.started import start_thread  # here: it loads what no other command needs

    changed = threading.Event()
    screen = _screen(daemon, as_json)
    start_thread("follow", partial(_follow, daemon, changed))
    while True:
        in_place = sys.stdout.isatty() and not as_json
        print((_CLEAR if in_place else "") + screen, flush=True)
        changed.wait(_EVERY_SECONDS)
        changed.clear()
        try:
            screen = _screen(daemon, as_json)
        except Unreachable as e:
            if as_json:
                raise
            screen = str(e)


def _follow(daemon: Client, changed: threading.Event) -> None:
    try:
        for _event in daemon.events():
            changed.set()
    except ModelwardError:
        return  # the screen is drawn anew every two seconds without it


def _screen(daemon: Client, as_json: bool) -> str:
    answer = daemon.get("/v1/status")
    if as_json:
        return answer.text.rstrip("\n")
    colour = colours(sys.stdout)
    text = "\n".join(lines(answer.data, colour))
    rows = [worker_row(worker) for worker in items(daemon.get("/v1/workers").data, "workers")]
    if rows:
        text += "\n\n" + table(HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colour)
    return text


def lines(data: dict[str, Any], colour: bool = False) -> list[str]:
    """The status in a few lines, each a word and what is so."""
    ready = bool(data.get("ready"))
    word = paint("ready", "green", colour) if ready else paint(clean(data.get("state")) or "not ready", "red", colour)
    live = clean(data.get("live")) or "no version"
    facts = [("live", f"{paint(live, 'bold', colour)}, {word}")]
    link = data.get("link")
    if isinstance(link, dict):
        names = f"names {clean(link['version'])}: " if link.get("version") else ""
        facts.append(("link", paint(f"{names}{clean(link.get('because'))}", "yellow", colour)))
    workers = data.get("workers")
    if isinstance(workers, dict):
        because = f" ({clean(workers['because'])})" if workers.get("because") else ""
        facts.append(("workers", f"{clean(workers.get('ready'))} of {clean(workers.get('total'))} ready{because}"))
    facts += [("pending", line) for line in _alerts(data.get("pending"))]
    rollout = data.get("rollout")
    facts.append(("rollout", describe(rollout) if isinstance(rollout, dict) else "none"))
    waiting = data.get("waiting")
    if isinstance(waiting, dict):
        facts.append(("waiting", waits(waiting)))
    facts += [("disk", line) for line in _disk(data.get("disk"))]
    facts += [("alert", paint(line, "red", colour)) for line in _alerts(data.get("alerts"))] or [("alerts", "none")]
    panel = data.get("panel")
    if isinstance(panel, dict) and panel.get("problem"):
        facts.append(("panel", paint(clean(panel["problem"]), "red", colour)))
    config = data.get("config")
    if isinstance(config, dict):
        facts.append(("config", clean(config.get("path")) or "defaults"))
        refused = clean(config.get("rejected"))
        if refused and not any(refused in text for _name, text in facts):
            facts.append(("", paint(f"a change was refused: {refused}", "red", colour)))
    version = clean(data.get("version"))
    facts.append(("daemon", f"{version}, pid {clean(data.get('pid'))}, up {span(data.get('uptime_seconds'))}"))
    return [f"{name:<8} {text}" for name, text in facts]


def _disk(disk: object) -> list[str]:
    if not isinstance(disk, dict):
        return []
    parts = []
    for key, value in disk.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            name = clean(key)
            if name.endswith("_bytes"):
                parts.append(f"{size(value)} {name.removesuffix('_bytes')}")
            elif name.endswith("_percent"):
                parts.append(f"{percent(value)} {name.removesuffix('_percent')}")
    return [", ".join(parts)] if parts else []


def _alerts(alerts: object) -> list[str]:
    if not isinstance(alerts, list):
        return []
    return [
        clean(alert.get("message") or alert.get("because") or alert.get("metric"))
        if isinstance(alert, dict)
        else clean(alert)
        for alert in alerts
    ]
