"""The types of arguments: none takes an empty text, which a shell's variable that was never set leaves.

Loads next to nothing. Each returns the value or raises ArgumentTypeError, which argparse prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def something(text: str) -> str:
    """For arguments that must not be empty, as a shell's variable that was never set is. Raises ArgumentTypeError."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def some_path(text: str) -> Path:
    """For every option and argument that is a path: an empty one would be the current directory. Raises
    ArgumentTypeError.
    """
    return Path(something(text))


def version_name(text: str) -> str:
    """A version as it was typed: the shell completes a directory's name with a slash. Raises ArgumentTypeError."""
    return something(text.rstrip("/"))
