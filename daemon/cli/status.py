"""`modelward status`: the whole on one screen; with --watch it stays and follows the daemon's events."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from ..errors import ModelwardError, Unreachable
from ..units import percent, size, span
from .client import Client
from .columns import padded
from .language import label, local_text
from .options import client, json_option, socket_option
from .progress import describe, waits
from .render import (
    clean,
    colours,
    local,
    paint,
    table,
    terminal_columns,
)
from .workers import HEADERS
from .workers import row as worker_row

if TYPE_CHECKING:
    from ..answers.status import LastProbe, StatusAnswer

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
    """Until it is interrupted. A daemon that goes away is reported and waited for; one that never answered is an
    error.
    """
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
            screen = local_text(str(e))


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
    from ..answers.status import StatusAnswer
    from ..answers.workers import WorkersAnswer

    colour = colours(sys.stdout)
    text = "\n".join(lines(answer.read(StatusAnswer), colour))
    rows = [worker_row(worker) for worker in daemon.get("/v1/workers").read(WorkersAnswer).workers]
    if rows:
        text += "\n\n" + table(HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colour)
    return text


def lines(status: StatusAnswer, colour: bool = False) -> list[str]:
    """The status in a few lines, each with a word and its value."""
    word = paint(label("ready" if status.ready else clean(status.state)), "green" if status.ready else "red", colour)
    facts = [("live", f"{paint(clean(status.live) or label('no version'), 'bold', colour)}, {word}")]
    if (link := status.link) is not None:
        names = f"{label('names')} {clean(link.version)}: " if link.version else ""
        facts.append(("link", paint(f"{names}{local_text(clean(link.because))}", "yellow", colour)))
    if status.root:
        facts.append(("models", local_text(clean(status.root))))
    workers = status.workers
    because = f" ({clean(workers.because)})" if workers.because else ""
    facts.append(("workers", local_text(f"{workers.ready} of {workers.total} ready{because}")))
    facts += [("pending", local_text(clean(key.message))) for key in status.pending]
    facts.append(("rollout", describe(status.rollout) if status.rollout is not None else label("none")))
    if status.waiting is not None:
        facts.append(("waiting", waits(status.waiting)))
    used, free_bytes = status.disk.used_percent, status.disk.free_bytes
    if isinstance(used, int | float) and isinstance(free_bytes, int):
        facts.append(("disk", local_text(f"{percent(used)} used, {size(free_bytes)} free")))
    if forecast := status.disk.forecast:
        facts.append(("", paint(local_text(clean(forecast)), "yellow", colour)))
    alerts = [("alert", paint(local_text(clean(alert.message)), "red", colour)) for alert in status.alerts]
    facts += alerts or [("alerts", label("none"))]
    facts += _outside(status)
    if status.panel.problem:
        facts.append(("panel", paint(local_text(clean(status.panel.problem)), "red", colour)))
    facts.append(("config", clean(status.config.path) or label("defaults")))
    if keys := status.config.environment:
        facts.append(("", local_text(f"from the environment: {', '.join(map(clean, keys))}")))
    refused = clean(status.config.rejected)
    if refused and not any(local_text(refused) in text for _name, text in facts):
        facts.append(("", paint(local_text(f"a change was refused: {refused}"), "red", colour)))
    facts.append(("daemon", local_text(f"{clean(status.version)}, pid {status.pid}, up {span(status.uptime_seconds)}")))
    return [f"{padded(label(name), 8)} {text}" for name, text in facts]


def _outside(status: StatusAnswer) -> Iterator[tuple[str, str]]:
    """How probes and heartbeats do."""
    probe, heartbeat = status.probe, status.heartbeat
    if probe.off:
        yield "probe", local_text(f"off: {clean(probe.off)}")
    else:
        lasts = f", 95 % within {span(probe.p95_seconds)}" if probe.p95_seconds is not None else ""
        because = f"; {clean(probe.because)}" if probe.because else ""
        yield "probe", local_text(f"{probe.passed} passed, {probe.failed} failed{lasts}{because}")
        if probe.failing_since:
            yield "", local_text(f"it has failed since {local(probe.failing_since)}")
    if (last := probe.last) is not None:
        yield "", local_text(f"the last one at {local(last.time)}: {span(last.seconds)}") + _texts(last)
    if heartbeat is not None:
        ago = f"{span(heartbeat.seconds_ago)} ago"
        because = clean(heartbeat.because)
        yield "heartbeat", local_text(f"not delivered {ago}: {because}" if because else f"delivered {ago}")
        if because and heartbeat.delivered:
            yield "", local_text(f"the last one that was delivered: {local(heartbeat.delivered)}")
        if not because and heartbeat.failed:
            failed = clean(heartbeat.failed_because)
            yield "", local_text(f"the last one that was not delivered, at {local(heartbeat.failed)}: {failed}")


def _texts(last: LastProbe) -> str:
    """The texts of the last probe; not translated, as they are what was spoken."""
    if not last.expected:
        return ""
    return f"; {clean(last.clip)} {label('expected')} “{clean(last.expected)}”, {label('got')} “{clean(last.got)}”"
