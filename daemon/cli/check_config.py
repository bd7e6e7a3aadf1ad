"""`modelward check-config [FILE]`: every mistake at once, each with its key, what is wrong and what would be right.

Directories of ours that another user can change, or that the daemon's user cannot make or write, count as mistakes: the
daemon would not start with them. A warning is no mistake: the daemon takes the file. Variables of the environment count
as they do for the daemon.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from ..config.load import Config
from ..errors import BadConfig
from .language import say


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --json."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="default /etc/modelward/modelward.toml")
    parser.add_argument("--json", action="store_true", help="print path and mistakes as JSON")


def run(args: argparse.Namespace) -> int:
    """0 when the daemon would take it, 2 otherwise."""
    from ..config import environment
    from ..config.cross_checks import warnings
    from ..config.load import DEFAULT_PATH, load_or_default
    from ..config.own_directories import probable_user, refused_and_borne
    from ..state.write_errors import remark as of_the_state

    path = str(args.file or DEFAULT_PATH)
    try:
        config, remark = load_or_default(Path(args.file) if args.file else None, os.environ)
        found, remarks = refused_and_borne(config, probable_user(config), made_by_others=_made_by_the_unit(config))
        if found:
            raise BadConfig(path, tuple(found))
    except BadConfig as e:
        if not args.json:
            raise
        print(json.dumps({"path": e.path, "mistakes": list(e.mistakes), "warnings": []}))
        return e.exit_status
    remarks = [*warnings(config), *remarks]
    if trouble := of_the_state(config.control.state_dir / "state.db"):
        remarks.append(f"control.state_dir: {trouble}; until then the daemon keeps its state in memory alone")
    keys = environment.keys(os.environ)
    if args.json:
        print(json.dumps({"path": path, "mistakes": [], "warnings": remarks, "environment": keys}))
        return 0
    say(remark or f"{path} is fine")
    if keys and not remark:
        say(f"from the environment: {', '.join(keys)}")
    for warning in remarks:
        say(f"warning: {warning}")
    return 0


def _made_by_the_unit(config: Config) -> tuple[str, ...]:
    """The keys of directories that systemd makes when it starts the service, as the installed unit has them."""
    from .install_files import unit_is_there

    missing = not config.control.runtime_dir.exists()
    return ("control.runtime_dir",) if missing and unit_is_there() else ()
