"""What a compiled form depends on of this machine: ONNX Runtime's version and the processor's features.

It does not import ONNX Runtime: the daemon also uses it, to find the forms that are good on this machine.
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
"""An environment variable: features, separated by commas, that count as missing. For tests and measurements only: ONNX
Runtime detects features by itself, and still uses them.
"""


def cpu_flags(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The features of the first processor, without those in HIDE; none where the kernel does not list them."""
    try:
        found = flags_in(Path("/proc/cpuinfo").read_text())
    except OSError:
        return frozenset()
    return found - {name.strip() for name in environment.get(HIDE, "").split(",")}


def runtime() -> str:
    """The version of the installed ONNX Runtime; "" when there is none."""
    return next((version for name in _RUNTIMES if (version := installed(name))), "")


def form_keys() -> Callable[[str, str], str]:
    """A function (digest, level) -> the key of the form that this machine makes of a version (see form_key).

    Reads files: not for an event loop. The returned function reads none.
    """
    flags, version = cpu_flags(), runtime()
    return lambda digest, level: key(digest, version, flags, {"level": level})


def form_key(digest: str, level: str) -> str:
    """The key of the form that this machine makes of a version at this level. Reads files: not for an event loop."""
    return form_keys()(digest, level)
