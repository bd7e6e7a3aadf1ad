"""Versions for tests: good ones in every form, broken ones in every way, and one that is still being copied."""

from __future__ import annotations

from tests.broken_graphs import (
    CRASH_SECONDS,
    edit,
    load_slowly,
    slow_down,
)
from tests.broken_versions import BROKEN, Broken, broken_version
from tests.good_versions import (
    MODEL,
    CopyUnderway,
    clips,
    demo,
    external_version,
    good_version,
    masked_version,
    quantized_version,
    sherpa_version,
    tensor_version,
)

__all__ = [
    "BROKEN",
    "CRASH_SECONDS",
    "MODEL",
    "Broken",
    "CopyUnderway",
    "broken_version",
    "clips",
    "demo",
    "edit",
    "external_version",
    "good_version",
    "load_slowly",
    "masked_version",
    "quantized_version",
    "sherpa_version",
    "slow_down",
    "tensor_version",
]
