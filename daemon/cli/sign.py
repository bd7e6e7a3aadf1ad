"""`modelward sign DIR --key FILE`: lists a version's files in SHA256SUMS and signs the list, as minisign would.

With --sequence, machines that accepted a higher number refuse the version, and with --expires those that get it later.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ...worker.shared.minisign_keys import MAX_KEY_BYTES, CannotSign, SecretKey, parse_secret
from ...worker.shared.moments import moment, moment_text
from ...worker.shared.signed_fields import BadFields, write_fields
from ..errors import BadUsage, Refused
from ..fleet.manifest import sign_version
from ..system.clock import SystemClock
from ..system.safe_read import open_regular
from ..units import count, parse_duration
from .argument_types import some_path, something
from .language import say
from .render import clean


def arguments(parser: argparse.ArgumentParser) -> None:
    """DIR, --key, --sequence, --expires."""
    parser.add_argument("directory", metavar="DIR", type=something, help="a directory that holds a version")
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=some_path,
        required=True,
        help="a key without a password: `modelward fleet keygen`",
    )
    parser.add_argument(
        "--sequence", metavar="N", type=int, default=0, help="a number that rises: lower ones are refused afterwards"
    )
    parser.add_argument(
        "--expires", metavar="WHEN", default="", help="like 365d or 2027-01-01T00:00:00Z; later it is not accepted anew"
    )


def run(args: argparse.Namespace) -> int:
    """0 signed, 1 refused, 2 for options that cannot be."""
    key, directory = read_key(args.key), Path(os.path.abspath(args.directory))
    comment = _comment(args.sequence, args.expires)
    try:
        files = sign_version(directory, key, comment)
    except CannotSign as e:
        raise Refused(f"cannot sign {clean(directory)}: {e}") from e
    except OSError as e:
        raise Refused(f"cannot sign {clean(directory)}: {clean(e.filename)}: {e.strerror}") from e
    say(f"{clean(directory.name)} is signed by key {key.public.name}: {count(files, 'file')}, {comment}")
    return 0


def read_key(path: Path) -> SecretKey:
    """The key in a file. Raises Refused."""
    try:
        with open_regular(path) as file:
            return parse_secret(file.read(MAX_KEY_BYTES))
    except CannotSign as e:
        raise Refused(f"cannot sign with {clean(path)}: {e}") from e
    except OSError as e:
        raise Refused(f"cannot sign with {clean(path)}: {e.strerror}") from e


def _comment(sequence: int, expires: str) -> str:
    now = SystemClock().wall()
    if not sequence:
        if expires:
            raise BadUsage("cannot run modelward sign: --expires needs --sequence")
        return f"timestamp:{int(now)}"
    try:
        until = later(expires, now) if expires else ""
        if until and moment(until) <= now:
            raise ValueError(f"--expires {expires[:40]!r} is not later than now")
        return write_fields(sequence, until)
    except (BadFields, ValueError) as e:
        raise BadUsage(f"cannot run modelward sign: {e}") from e


def later(text: str, now: float) -> str:
    """A moment, or a duration from now, as a moment. Raises ValueError."""
    if text[:4].isdigit() and "-" in text:
        return moment_text(moment(text))
    seconds = parse_duration(text)
    try:
        return moment_text(now + seconds)
    except (ValueError, OverflowError, OSError) as e:
        raise ValueError(f"{text[:40]!r} is not a time: it lies after the year 9999") from e
