"""`modelward run`: the daemon, in the foreground."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from ...worker.shared.lean_imports import import_structlog, lasting


def arguments(parser: argparse.ArgumentParser) -> None:
    """--config."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="default /etc/modelward/modelward.toml")


def run(args: argparse.Namespace) -> int:
    """Runs the daemon, and ends the process with it; 2 for a configuration with mistakes."""
    # Until they are handled these would end the program, and loading it takes a while: they wait until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
    with lasting():
        import_structlog()
        from .program import main

    main(args.config)
