"""`modelward install`: installs units, user, directories, a first configuration, and the command on the PATH, from the
installed package.

It may run again at any time. What exists stays, and a configuration is never overwritten. The units are ours and are
written again; an operator's changes belong in drop-ins (`systemctl edit`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ModelwardError
from . import install_files
from .argument_types import some_path
from .client import Client
from .install_files import UNITS, InstallStep
from .language import say
from .panel import lines


def arguments(parser: argparse.ArgumentParser) -> None:
    """--prefix, --now."""
    parser.add_argument("--prefix", metavar="DIR", type=some_path, help="write below DIR and leave this machine alone")
    parser.add_argument("--now", action="store_true", help="enable and start the service as well")


def run(args: argparse.Namespace) -> int:
    """0 done. Raises Refused when this machine or this installation of the package can't have it."""
    if args.prefix is None:
        install_files.need_root("install")
        launcher = install_files.launcher()
    else:
        if args.now:
            install_files.refuse(
                "cannot install: --now starts what is on this machine, --prefix leaves it alone; give one"
            )
        launcher = install_files.launcher(check=False)
    root = args.prefix or Path("/")
    for step in (*install_files.write_all(root, launcher), *install_files.link_all(root, launcher)):
        say(step)
    if args.prefix is not None:
        say("not done: user, directories and systemctl daemon-reload are up to the machine that gets these files")
        return 0
    for step in _on_this_machine(args.now):
        say(step)
    return 0


def _on_this_machine(now: bool) -> list[InstallStep]:
    steps = [
        install_files.do("user modelward", "systemd-sysusers", "/etc/sysusers.d/modelward.conf"),
        install_files.do("directories", "systemd-tmpfiles", "--create", "/etc/tmpfiles.d/modelward.conf"),
    ]
    if not install_files.systemd_runs():
        return [*steps, InstallStep("not done", "systemctl: systemd is not what runs this machine now")]
    steps.append(install_files.do("units known to systemd", "systemctl", "daemon-reload"))
    if now:
        steps.append(install_files.do("enabled", "systemctl", "enable", *UNITS))
        steps.append(install_files.do("started", "systemctl", "start", *UNITS, seconds=600))
        steps.append(_panel())
        return steps
    if install_files.service_runs():
        again = "systemctl restart modelward, if the package is another one now; the workers serve on meanwhile"
        return [*steps, InstallStep("next", again)]
    return [
        *steps,
        InstallStep("next", "systemctl enable --now modelward; then modelward panel prints a link to the panel"),
    ]


def _panel() -> InstallStep:
    """How to open the panel: a link that works once. A panel that is off is no mistake."""
    try:
        return InstallStep("panel", "\n".join(lines(Client().post("/v1/panel/link"))))
    except ModelwardError as e:
        return InstallStep("panel", str(e))
