"""Imports what a process needs at its start with less memory and less time.

Structlog loads rich where both are installed: 12 MB that no log line uses. And the collector reads all objects of
imported modules again and again, although they stay: a fifth of the time, to free one part in seventy.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """What is imported inside is never checked for garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_structlog() -> None:
    """Structlog without rich, where neither is loaded yet. In a long-lived process call it before anything else imports
    structlog.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # an import of it fails as if it were not installed
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]
