"""`modelward fleet`: a key, the signed record that many machines follow, and how far they are.

`fleet_publish` writes records, `fleet_status` shows. `status` without a server asks the daemon of this machine.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from ...worker.shared.durable_files import sync_directory, write_new
from ...worker.shared.minisign_keys import CannotSign, make_key, public_file, public_line, secret_file
from ..errors import BadUsage, Refused
from .argument_types import some_path
from .language import say
from .options import json_option, socket_option
from .render import clean

KEY: Final = "modelward-fleet.key"
WORDS: Final = ("keygen", "publish", "status", "drift", "halt", "resume", "back", "forget", "admit", "expel")


def arguments(parser: argparse.ArgumentParser) -> None:
    """WHAT, its version or machine, where the record is, and what a record has."""
    parser.add_argument(
        "what",
        choices=WORDS,
        help="keygen: make a key; publish VERSION: machines are to serve it; status: how far they are; drift: which "
        "serve something else; halt: no machine begins any more; resume: go on; back: to the version before; "
        "forget MACHINE: its report; admit NAME: a client of the server, with its rights; expel NAME: takes them away",
    )
    parser.add_argument(
        "version",
        nargs="?",
        metavar="VERSION",
        default="",
        help="publish: a directory, or a name in the model root; back: an earlier one",
    )
    parser.add_argument(
        "--to", metavar="FILE|URL", default="", help="the record's file, or nats://host:4222 (default: fleet.url)"
    )
    parser.add_argument("--credentials", metavar="FILE", default="", help="what the server requires")
    parser.add_argument("--ca-file", metavar="FILE", default="", help="certificates that are trusted for the server")
    parser.add_argument("--config", metavar="FILE", default="", help="default /etc/modelward/modelward.toml")
    parser.add_argument("--why", metavar="TEXT", default="", help="halt: the reason, which machines report")
    parser.add_argument(
        "--key", metavar="FILE", type=some_path, default=Path(KEY), help=f"the secret key (default {KEY})"
    )
    parser.add_argument(
        "--source", metavar="URL", action="append", default=[], help="publish: where the version's files lie besides"
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
    parser.add_argument(
        "--role", choices=("machine", "keeper", "operator"), default="machine", help="admit: its rights"
    )
    parser.add_argument(
        "--dir", metavar="DIR", type=Path, default=Path("."), help="admit, expel: where the files of users are"
    )
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 done, 1 refused, or `drift` found some; 2 for options that cannot be; 3 no daemon."""
    if args.what == "keygen":
        return _keygen(args.key)
    if args.what in ("admit", "expel"):
        from .fleet_admit import admit, expel

        return expel(args.version, args.dir) if args.what == "expel" else admit(args.version, args.role, args.dir)
    from ..config.fleet_checks import is_nats
    from . import fleet_publish, fleet_status

    if args.what in ("publish", "halt", "resume", "back"):
        done: int = getattr(fleet_publish, args.what)(args)
        return done
    place = fleet_publish.fleet_place(args)
    if is_nats(place.url):
        if args.what == "forget":
            return fleet_status.forget(args.version, place)
        return fleet_status.show(args, place) if args.what == "status" else fleet_status.drift(args, place)
    if args.what == "status" and args.to:
        return fleet_status.show_file(Path(place.url))
    if args.what != "status":
        raise BadUsage(f"cannot run modelward fleet {args.what}: it needs a server; give it with --to")
    return fleet_status.show_own(args)


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
