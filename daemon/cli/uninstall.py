"""`modelward uninstall`: stops the service and takes its units away; leaves models, state, logs and configuration.

May be run again: what is gone already is passed over.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import places
from .places import UNITS, Step


def arguments(parser: argparse.ArgumentParser) -> None:
    """--prefix."""
    parser.add_argument("--prefix", metavar="DIR", type=Path, help="take away what was written below DIR")


def run(args: argparse.Namespace) -> int:
    """0 done. Raises Refused when it can't be."""
    if args.prefix is None:
        places.need_root("uninstall")
        if places.systemd_runs() and places.unit_is_there():
            instances = places.instances()
            print(places.do("stopped and disabled", "systemctl", "disable", "--now", *instances, *UNITS, seconds=600))
    for step in places.remove_all(args.prefix or Path("/")):
        print(step)
    if args.prefix is None and places.systemd_runs():
        print(places.do("units forgotten by systemd", "systemctl", "daemon-reload"))
    print(Step("left", "/etc/modelward, /var/lib/modelward, /var/cache/modelward, /var/log/modelward, user modelward"))
    return 0
