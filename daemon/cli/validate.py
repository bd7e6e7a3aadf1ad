"""`modelward validate PATH`: validates a directory as the daemon does, without a daemon; one line for
each gate.

It leaves nothing: the copy of an accepted version is in a temporary directory, which is removed. With `validate NAME
--again`, the running daemon drops a rejection and validates the version once more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from msgspec import to_builtins

from ...worker.child_protocol import GateDone, GateStarted
from ..answers.versions import GateReport
from ..config.load import Config, load_or_default
from ..controllers.child_requests import candidate
from ..errors import BadUsage, Refused
from ..models import misplaced_links, validator_process
from ..models import verdict as v
from ..names import is_version_name
from ..system import processes
from ..system.available_memory import available_bytes, capacity
from ..system.clock import SystemClock
from ..units import span
from .argument_types import some_path, something
from .columns import padded
from .language import label, local_text, say
from .options import socket_option
from .progress import ProgressLine
from .render import (
    clean,
    colours,
    paint,
)
from .request_and_wait import ask


def arguments(parser: argparse.ArgumentParser) -> None:
    """PATH or NAME, --again, --config, --json, --socket."""
    parser.add_argument(
        "path", metavar="PATH", type=something, help="a directory that holds a version; with --again a version's name"
    )
    parser.add_argument(
        "--again", action="store_true", help="the running daemon forgets its rejection of this version and judges it"
    )
    parser.add_argument(
        "--config", metavar="FILE", type=some_path, help="whose [validation] counts (default: the daemon's)"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 accepted, 1 rejected, 2 for a configuration with mistakes; with --again 3 without a daemon."""
    if args.again:
        if args.config is not None:
            raise BadUsage("cannot use --config with --again: the daemon judges by its own configuration")
        return ask(args, "/v1/validate", {"version": args.path.rstrip("/"), "again": True})
    config, _remark = load_or_default(args.config, os.environ)
    path = _directory(Path(args.path))
    with tempfile.TemporaryDirectory(prefix="modelward-validate-", ignore_cleanup_errors=True) as room:
        try:
            answer = asyncio.run(_judge(config, path, room, quiet=args.json))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    if isinstance(answer, v.Changing):
        raise Refused(f"cannot judge {clean(path.name)}: {answer.because}; copy it whole first")
    if isinstance(answer, v.NotJudged):
        raise Refused(
            f"cannot judge {clean(path.name)}: {clean(answer.because)}; that proves nothing about it, try again"
        )
    if args.json:
        state = "accepted" if answer.accepted else "rejected"
        verdict = {"version": path.name, "digest": answer.digest, "state": state, "verdict": v.report(answer)}
        print(json.dumps(to_builtins(verdict)))
        return 0 if answer.accepted else 1
    if not answer.accepted:
        sys.stdout.flush()
        raise Refused(f"cannot accept {clean(path.name)}: {clean(answer.because)}")
    because = f": {clean(answer.because)}" if answer.because else ""
    say(f"{clean(path.name)} is accepted{because}")
    return 0


def _directory(path: Path) -> Path:
    absolute = Path(os.path.abspath(path))
    if absolute.is_symlink():  # `validate current`: what it leads to is meant
        absolute = absolute.resolve()
    if not absolute.is_dir():
        raise Refused(f"cannot validate {clean(path)}: there is no such directory")
    if not is_version_name(absolute.name):
        raise Refused(f"cannot validate {clean(path)}: the daemon would pass over a directory of that name")
    return absolute


async def _judge(config: Config, path: Path, room: str, *, quiet: bool) -> v.Answer:
    line, task = ProgressLine(sys.stderr), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        # A handler of the loop's, which wakes it: with asyncio's usual one, a signal that comes just as the loop goes
        # to sleep is heard when the validator says its next word.
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    def heard(message: GateStarted | GateDone) -> None:
        if quiet:
            return
        if isinstance(message, GateStarted):
            if line.in_place:
                line.show(f"{label(clean(message.gate))} …")
        else:
            line.end()
            print(gate_line(message, colours(sys.stdout)), flush=True)

    try:
        return await validator_process.validate(
            candidate(
                config,
                path,
                capacity=capacity(),
                available_bytes=available_bytes(),
                now_seconds=SystemClock().wall(),
                passed_over=misplaced_links.found(path.parent, path.name),
            ),
            processes.spawn,
            root=Path(room),
            argv=validator(),
            clock=SystemClock(),
            progress=heard,
        )
    except validator_process.CannotStart as e:
        raise Refused(str(e)) from e
    finally:
        line.end()


def validator() -> Sequence[str]:
    """The command that judges."""
    return processes.python(validator_process.MODULE)


def gate_line(gate: GateDone | GateReport, colour: bool) -> str:
    """One gate's result: ok, warning or FAILED, its name, how long it took, and the reason."""
    word, how = ("FAILED", "red") if not gate.passed else ("warning", "yellow") if gate.warning else ("ok", "green")
    because = f"  {local_text(clean(gate.because))}" if gate.because else ""
    name = padded(label(clean(gate.gate)), 14)
    return f"{paint(padded(label(word), 8), how, colour)}{name}{span(gate.seconds):>7}{because}"
