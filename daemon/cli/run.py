"""`modelward run`: the daemon, in the foreground."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """--config."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="default /etc/modelward/modelward.toml")


def run(args: argparse.Namespace) -> int:
    """Returns when the daemon was told to stop; 2 for a configuration with mistakes."""
    from ..supervisor import main

    return main(args.config)
