"""`modelward uninstall`: stops the service and removes its units; models, state, logs and
configuration stay.

It may run again: what is gone already is skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import install_files
from .argument_types import some_path
from .install_files import UNITS, InstallStep
from .language import say


def arguments(parser: argparse.ArgumentParser) -> None:
    """--prefix."""
    parser.add_argument("--prefix", metavar="DIR", type=some_path, help="take away what was written below DIR")


def run(args: argparse.Namespace) -> int:
    """0 done. Raises Refused when it can't be."""
    if args.prefix is None:
        install_files.need_root("uninstall")
        if install_files.systemd_runs() and install_files.unit_is_there():
            instances = install_files.instances()
            say(
                install_files.do(
                    "stopped and disabled", "systemctl", "disable", "--now", *instances, *UNITS, seconds=600
                )
            )
    for step in install_files.remove_all(args.prefix or Path("/")):
        say(step)
    if args.prefix is None and install_files.systemd_runs():
        say(install_files.do("units forgotten by systemd", "systemctl", "daemon-reload"))
    say(
        InstallStep(
            "left", "/etc/modelward, /var/lib/modelward, /var/cache/modelward, /var/log/modelward, user modelward"
        )
    )
    return 0
