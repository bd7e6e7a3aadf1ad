"""Combines what a compiled form depends on into one short name. Pure.

A form is right only where the key is the same. The key has the version's bytes, ONNX Runtime (its graph and pre-packed
weights), the CPU's features (kernels, packing) and the options of the compilation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

RECIPE = 2  # raise it when the rewrites change their result

# flags of /proc/cpuinfo by which ONNX Runtime chooses kernels and weight layouts
TELLING = frozenset(
    {
        "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8", "avx_ne_convert", "avx512f", "avx512bw", "avx512dq",
        "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd",
        "asimddp", "i8mm", "bf16", "sve",
    }
)  # fmt: skip


def key(digest: str, onnxruntime: str, flags: Iterable[str], options: Mapping[str, str | int]) -> str:
    """Sixteen hex digits; equal for equal arguments in any order. Flags that ONNX Runtime does not use are left out."""
    told = [RECIPE, digest, onnxruntime, sorted(TELLING.intersection(flags)), sorted(options.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def flags_in(cpuinfo: str) -> frozenset[str]:
    """The features of the first processor in the text of /proc/cpuinfo ("flags" on x86, "Features" on arm)."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
