"""What a compiled form depends on of this machine: ONNX Runtime's version and the processor's features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnxruntime as ort

from .compile.key import flags_in, key

HIDE: Final = "MODELWARD_HIDE_CPU_FLAGS"
"""In the environment: features, separated by commas, that are taken for missing. A switch for tests and measurements:
ONNX Runtime looks for itself, and goes on using them."""


def cpu_flags(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The features of the first processor, less those that HIDE names; none where the kernel does not tell."""
    try:
        found = flags_in(Path("/proc/cpuinfo").read_text())
    except OSError:
        return frozenset()
    return found - {name.strip() for name in environment.get(HIDE, "").split(",")}


def form_key(digest: str, level: str) -> str:
    """The key of the form that this machine makes of a version at this level (see compile.key)."""
    return key(digest, ort.__version__, cpu_flags(), {"level": level})
