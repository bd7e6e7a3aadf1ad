"""What the daemon and the validator both know of a version's list of checksums. Pure."""

from __future__ import annotations

from typing import Final

SUMS: Final = "SHA256SUMS"
MAX_SUMS_BYTES: Final = 4 << 20
