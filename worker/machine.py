"""What a compiled form depends on of this machine: ONNX Runtime's version and the processor's features."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from .compile.key import flags_in, key


def cpu_flags() -> frozenset[str]:
    """The features of the first processor; none where the kernel does not tell."""
    try:
        return flags_in(Path("/proc/cpuinfo").read_text())
    except OSError:
        return frozenset()


def form_key(digest: str, level: str) -> str:
    """The key of the form that this machine makes of a version at this level (see compile.key)."""
    return key(digest, ort.__version__, cpu_flags(), {"level": level})
