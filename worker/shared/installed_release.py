"""The release of the package that this process runs, read once: later the files may belong to another release.

It reads the installer's own record. The standard library can read it too, but keeps two megabytes in processes that
need it once.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_RECORD: Final = ".dist-info"
MAX_RECORD_BYTES: Final = 1 << 20


def installed(package: str) -> str:
    """The version of an installed package, as it is now; "" when it is not there. `package` is the name in its
    record.
    """
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            ours = name.endswith(_RECORD) and name.partition("-")[0].lower().replace(".", "_") == package
            if ours and (found := _version(os.path.join(place, name, "METADATA"))):
                return found
    return ""


def _version(path: str) -> str:
    """The field of the head, which ends at the first empty line."""
    try:
        with open(path, encoding="utf-8", errors="replace") as record:
            head = record.read(MAX_RECORD_BYTES).partition("\n\n")[0]
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in head.split("\n") if line.startswith("Version:")), "")


RELEASE: Final = installed("modelward") or "unknown"
