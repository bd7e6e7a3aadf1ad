"""Which release of the package this process runs, read once: the files may be another release's by tomorrow."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed() -> str:
    try:
        return version("modelward")
    except PackageNotFoundError:
        return "unknown"


RELEASE: Final = _installed()
