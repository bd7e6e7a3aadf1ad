"""`modelward run`: the daemon, in the foreground. As the first process of a container it is the daemon's parent."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Final, NoReturn

from ...worker.shared.lean_imports import import_less, lasting
from .argument_types import some_path

HANDLED: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""The signals that `program.handle_signals` handles."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """--config."""
    parser.add_argument("--config", metavar="FILE", type=some_path, help="default /etc/modelward/modelward.toml")


def run(args: argparse.Namespace) -> int:
    """Runs the daemon, and ends the process with it; 2 for a configuration with mistakes."""
    # Until they are handled these would end the program, and loading it takes a while: they wait until then. A stop
    # that ended it here would leave the workers of a former daemon for ever.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    if os.getpid() == 1:
        from ..system import first_process

        status = first_process.run()
        if status is not None:
            return status
    return _daemon(args.config)


def _daemon(config: Path | None) -> NoReturn:
    with lasting():
        import_less(openssl_hashes=False)
        from .program import main

    main(config)
