"""`modelward fleet publish`, `halt`, `resume` and `back`: the record, in a directory or on a server.

A directory is carried by a web server or a USB stick; there a halt is a record that holds everything. No daemon is
needed. Invariant: each record that is published has a higher number than the one before.
"""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from ...worker.shared.minisign_keys import CannotSign, SecretKey
from ...worker.shared.moments import moment_text
from ..config.fleet_checks import is_nats
from ..config.load import Config, load_or_default
from ..errors import BadUsage, Refused
from ..fleet import publishing
from ..fleet.manifest import manifest
from ..fleet.publishing import next_number
from ..fleet.record import BadRecord, FleetRecord, FleetWave, WaveWindow
from ..fleet.signature import MAX_SIGNED_BYTES, open_record, sign_record
from ..system.clock import SystemClock
from ..system.safe_files import replace_safely
from ..system.safe_paths import open_directory, open_file
from ..system.safe_read import open_regular
from ..units import parse_duration, size
from . import fleet_server
from .fleet_server import FleetPlace
from .language import say
from .render import clean
from .sign import later, read_key

RECORD_MODE = 0o644
MAX_ERRORS = 1_000_000


def fleet_place(args: argparse.Namespace) -> FleetPlace:
    """Where the record is: `--to`, else what the configuration has. The path of a file where it begins with /."""
    fleet = _config(args).fleet
    url = args.to or fleet.url
    if url.startswith(("https:", "http:")) and args.what != "status":
        raise BadUsage(
            f"cannot run modelward fleet {args.what}: an https address is read only; --to takes the file that it serves"
        )
    if not is_nats(url) and url:
        url = os.path.abspath(url.removeprefix("file://"))
    return FleetPlace(url, args.credentials or fleet.credentials, args.ca_file or fleet.ca_file)


def _config(args: argparse.Namespace) -> Config:
    return load_or_default(Path(args.config) if args.config else None)[0]


def publish(args: argparse.Namespace) -> int:
    """0 published. Raises BadUsage and Refused."""
    place = fleet_place(args)
    if not args.version or not place.url:
        raise BadUsage("cannot run modelward fleet publish: it needs VERSION, and --to with a file or a server")
    key, directory = read_key(args.key), _directory(args)
    try:
        if is_nats(place.url):
            record = fleet_server.publish(place, directory, key, _draft(args, directory), args.sequence)
        else:
            record = _to_file(args, key, directory, Path(place.url))
    except (BadRecord, CannotSign) as e:
        raise Refused(f"cannot publish {clean(directory.name)}: {e}") from e
    except OSError as e:
        raise Refused(f"cannot publish {clean(directory.name)}: {clean(e.filename)}: {e.strerror}") from e
    _done(record)
    return 0


def _done(record: FleetRecord) -> None:
    say(f"record {record.sequence} wants {clean(record.version)} ({size(record.bytes)}) until {record.expires}")


def _directory(args: argparse.Namespace) -> Path:
    """A path, or the name of a version of the model root."""
    if os.path.isdir(args.version) or os.sep in args.version:
        return Path(os.path.abspath(args.version))
    return Path(_config(args).models.root, args.version)


def _to_file(args: argparse.Namespace, key: SecretKey, directory: Path, place: Path) -> FleetRecord:
    beside = args.source or [_beside(directory, place)]
    with _one_at_a_time(place):
        try:
            before = _present(place, key)
        except BadRecord:  # of another key
            if not args.sequence:
                raise
            before = None
        number = next_number(before.sequence if before is not None else 0, args.sequence)
        record = _draft(args, directory, beside)(number, "")
        _write(record, key, place)
    return record


def _write(record: FleetRecord, key: SecretKey, place: Path) -> None:
    replace_safely(place, sign_record(record, key), RECORD_MODE)


@contextmanager
def _one_at_a_time(place: Path) -> Iterator[None]:
    """Two publishers would give the same number to two records. Raises OSError; Refused while another one writes."""
    directory = open_directory(str(place.parent))
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as e:
        raise Refused(f"cannot publish: another command writes {clean(place)} now; try again") from e
    finally:
        os.close(directory)


def _draft(
    args: argparse.Namespace, directory: Path, sources: list[str] | None = None
) -> Callable[[int, str], FleetRecord]:
    """Makes the record of its number and of the bucket that its files go to. Raises BadRecord, Refused, BadUsage."""
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
    files = manifest(directory)

    def drafted(sequence: int, bucket: str) -> FleetRecord:
        place = f"{directory.name}-{files.sha256[:12]}{files.signature_sha256[:4]}"
        places = sources or [*args.source, f"object:{bucket}/{place}"]
        return publishing.drafted(
            directory.name,
            files,
            sequence=sequence,
            now=now,
            valid_seconds=valid,
            sources=places,
            waves=waves,
            not_before=not_before,
            hold=args.hold,
        )

    return drafted


def _beside(directory: Path, place: Path) -> str:
    if not directory.is_relative_to(place.parent):
        raise Refused(
            f"cannot publish {clean(directory.name)}: it does not lie below {clean(place.parent)}; copy it there, or "
            "give the address where machines find it with --source"
        )
    return str(directory.relative_to(place.parent))


def _present(place: Path, key: SecretKey) -> FleetRecord | None:
    """The record that is replaced; None when there is none. Raises BadRecord for one of another key."""
    try:
        with open_regular(place, open_file) as file:
            return open_record(file.read(MAX_SIGNED_BYTES + 1), [key.public]).record
    except FileNotFoundError:
        return None
    except OSError as e:
        raise Refused(f"cannot read {clean(place)}: {e.strerror}") from e


def halt(args: argparse.Namespace) -> int:
    """No machine begins anything any more."""
    place = fleet_place(args)
    if is_nats(place.url):
        record = fleet_server.halt(place, args.why or "halted by command")
    else:
        record = _held(args, place, hold=True)
    say(f"no machine begins with {clean(record.version)} any more; what is served stays")
    return 0


def resume(args: argparse.Namespace) -> int:
    """A halted rollout goes on."""
    place = fleet_place(args)
    record = fleet_server.resume(place) if is_nats(place.url) else _held(args, place, hold=False)
    say(f"machines go on with {clean(record.version)}; what failed is tried once more")
    return 0


def _held(args: argparse.Namespace, place: FleetPlace, *, hold: bool) -> FleetRecord:
    """The record in a file, once more, with or without a hold."""
    if not place.url:
        raise BadUsage(f"cannot run modelward fleet {args.what}: it needs --to with a file or a server")
    key, path = read_key(args.key), Path(place.url)
    try:
        with _one_at_a_time(path):
            before = _present(path, key)
            if before is None:
                raise Refused(f"cannot change {clean(path)}: there is no record")
            record = replace(before, sequence=before.sequence + 1, issued=moment_text(SystemClock().wall()), hold=hold)
            _write(record, key, path)
    except (BadRecord, CannotSign) as e:
        raise Refused(f"cannot change {clean(path)}: {e}") from e
    except OSError as e:
        raise Refused(f"cannot change {clean(path)}: {e.strerror}") from e
    return record


def back(args: argparse.Namespace) -> int:
    """All machines go back, at once, to the version that was wanted before, or to the one that is named."""
    place = fleet_place(args)
    if not is_nats(place.url):
        raise BadUsage("cannot run modelward fleet back: only a server knows the former record; publish that version")
    key, now = read_key(args.key), SystemClock().wall()
    valid = parse_duration(args.valid)

    def made(present: FleetRecord, former: FleetRecord) -> FleetRecord:
        return replace(
            former,
            sequence=present.sequence + 1,
            issued=moment_text(now),
            expires=publishing.end_of(now, valid),
            waves=(FleetWave(percent=100.0, success_percent=100.0, max_errors=MAX_ERRORS),),
            not_before="",
            hold=False,
        )

    try:
        record = fleet_server.again(place, key, args.version, made)
    except (BadRecord, CannotSign) as e:
        raise Refused(f"cannot go back: {e}") from e
    _done(record)
    return 0
