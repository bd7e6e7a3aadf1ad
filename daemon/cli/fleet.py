"""`modelward fleet keygen` and `publish`: a key, and the signed record that many machines follow.

`publish` writes the record into a directory that a web server or a USB stick carries. It needs no daemon.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from ...worker.shared.durable_files import replace_file, sync_directory, write_new
from ...worker.shared.minisign_keys import CannotSign, SecretKey, make_key, public_file, public_line, secret_file
from ..errors import BadUsage, Refused
from ..fleet import publishing
from ..fleet.manifest import manifest
from ..fleet.record import BadRecord, FleetRecord, WaveWindow
from ..fleet.signature import MAX_SIGNED_BYTES, open_record, sign_record
from ..system.clock import SystemClock
from ..system.safe_read import open_regular
from ..units import parse_duration, size
from .language import say
from .render import clean
from .sign import later, read_key

KEY: Final = "modelward-fleet.key"
RECORD_MODE: Final = 0o644


def arguments(parser: argparse.ArgumentParser) -> None:
    """keygen [--key]; publish DIR --to FILE --key, and the waves."""
    parser.add_argument("what", choices=("keygen", "publish"), help="make a key; write the record that wants a version")
    parser.add_argument(
        "version", nargs="?", metavar="DIR", default="", help="publish: a directory that holds a version"
    )
    parser.add_argument("--key", metavar="FILE", type=Path, default=Path(KEY), help=f"the secret key (default {KEY})")
    parser.add_argument("--to", metavar="FILE", type=Path, help="publish: the record, replaced; the version lies below")
    parser.add_argument(
        "--source", metavar="URL", action="append", default=[], help="publish: where the version's files lie otherwise"
    )
    parser.add_argument("--waves", metavar="LIST", default="100%", help="like canary,5%%,25%%,100%% (default 100%%)")
    parser.add_argument(
        "--success", metavar="SHARE", default="100%", help="of a wave that must serve it first (default 100%%)"
    )
    parser.add_argument("--max-errors", metavar="N", type=int, default=0, help="more failures halt it (default 0)")
    parser.add_argument("--pause", metavar="DURATION", default="1h", help="between two waves (default 1h)")
    parser.add_argument(
        "--window", metavar="CRON", default="", help='when machines take it up: "0 22 * * *", local time'
    )
    parser.add_argument("--window-for", metavar="DURATION", default="6h", help="how long a window lasts (default 6h)")
    parser.add_argument("--not-before", metavar="WHEN", default="", help="like 12h or 2027-01-01T00:00:00Z")
    parser.add_argument("--valid", metavar="DURATION", default="90d", help="how long it may be followed (default 90d)")
    parser.add_argument(
        "--sequence", metavar="N", type=int, default=0, help="its number (default: one more than before)"
    )
    parser.add_argument("--hold", action="store_true", help="no machine begins until it is published without")


def run(args: argparse.Namespace) -> int:
    """0 done, 1 refused, 2 for options that cannot be."""
    return _keygen(args.key) if args.what == "keygen" else _publish(args)


def _keygen(path: Path) -> int:
    public = path.with_name(f"{path.name}.pub")
    try:
        key = make_key(os.urandom(40))
        for place, content, mode in ((path, secret_file(key), 0o600), (public, public_file(key.public), 0o644)):
            write_new(place, content, mode)
        sync_directory(path.absolute().parent)
    except FileExistsError as e:
        raise Refused(f"cannot make a key: {clean(e.filename)} is there already") from e
    except OSError as e:
        raise Refused(f"cannot make a key: {clean(e.filename)}: {e.strerror}") from e
    except CannotSign as e:
        raise Refused(f"cannot make a key: {e}") from e
    say(f"the secret key is in {clean(path)}: keep it off the machines of the fleet")
    say("each machine's configuration has, in [fleet]:")
    print(f'public_keys = ["{public_line(key.public)}"]')
    return 0


def _publish(args: argparse.Namespace) -> int:
    if not args.version or args.to is None:
        raise BadUsage("cannot run modelward fleet publish: it needs DIR and --to FILE")
    key, directory, place = read_key(args.key), Path(os.path.abspath(args.version)), Path(os.path.abspath(args.to))
    try:
        record = _record(args, key, directory, place)
        text = sign_record(record, key)
    except (BadRecord, CannotSign) as e:
        raise Refused(f"cannot publish {clean(directory.name)}: {e}") from e
    try:
        replace_file(place, text, RECORD_MODE)
    except OSError as e:
        raise Refused(f"cannot publish {clean(directory.name)}: {clean(place)}: {e.strerror}") from e
    say(f"record {record.sequence} wants {clean(record.version)} ({size(record.bytes)}) until {record.expires}")
    return 0


def _record(args: argparse.Namespace, key: SecretKey, directory: Path, place: Path) -> FleetRecord:
    """Raises BadRecord, Refused, BadUsage."""
    now = SystemClock().wall()
    try:
        success = float(args.success.removesuffix("%"))
        pause, valid, lasts = (parse_duration(text) for text in (args.pause, args.valid, args.window_for))
        not_before = later(args.not_before, now) if args.not_before else ""
    except ValueError as e:
        raise BadUsage(f"cannot run modelward fleet publish: {e}") from e
    window = WaveWindow(args.window, round(lasts)) if args.window else None
    waves = publishing.waves(
        args.waves, success_percent=success, max_errors=args.max_errors, pause_seconds=pause, window=window
    )
    sha256, size_bytes = manifest(directory)
    return publishing.drafted(
        directory.name,
        sha256,
        size_bytes,
        sequence=args.sequence or _last_sequence(place, key) + 1,
        now=now,
        valid_seconds=valid,
        sources=args.source or [_beside(directory, place)],
        waves=waves,
        not_before=not_before,
        hold=args.hold,
    )


def _beside(directory: Path, place: Path) -> str:
    if not directory.is_relative_to(place.parent):
        raise Refused(
            f"cannot publish {clean(directory.name)}: it does not lie below {clean(place.parent)}; copy it there, or "
            "give the address where machines find it with --source"
        )
    return str(directory.relative_to(place.parent))


def _last_sequence(place: Path, key: SecretKey) -> int:
    """The number of the record that is replaced; 0 when there is none. Raises BadRecord for one of another key."""
    try:
        with open_regular(place) as file:
            return open_record(file.read(MAX_SIGNED_BYTES + 1), [key.public]).record.sequence
    except FileNotFoundError:
        return 0
    except OSError as e:
        raise Refused(f"cannot read {clean(place)}: {e.strerror}") from e
