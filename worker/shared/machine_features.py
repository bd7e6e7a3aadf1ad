"""What a compiled form depends on of this machine: ONNX Runtime's version and the processor's features.

Imports no ONNX Runtime: the daemon asks here too which forms are good on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from .form_key import flags_in, key
from .installed_release import installed

_RUNTIMES: Final = ("onnxruntime", "onnxruntime_gpu", "onnxruntime_openvino", "onnxruntime_rocm")

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


def runtime() -> str:
    """The version of the installed ONNX Runtime; "" when there is none."""
    return next((version for name in _RUNTIMES if (version := installed(name))), "")


def form_keys() -> Callable[[str, str], str]:
    """A function (digest, level) -> the key of the form that this machine makes of a version (see compile.key).

    Reads files: not for an event loop. What it returns does not.
    """
    flags, version = cpu_flags(), runtime()
    return lambda digest, level: key(digest, version, flags, {"level": level})


def form_key(digest: str, level: str) -> str:
    """The key of the form that this machine makes of a version at this level. Reads files: not for an event loop."""
    return form_keys()(digest, level)
