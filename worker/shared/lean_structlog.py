"""Imports structlog without rich: where both are installed structlog loads it, 12 MB that no line of a log uses.

To be called in a process that lives long, before anything else there imports structlog.
"""

from __future__ import annotations

import importlib
import sys


def import_structlog() -> None:
    """Does nothing where structlog or rich is loaded already."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # whoever imports it is told that there is none
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]
