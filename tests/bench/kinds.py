"""Which kind of processor a figure is of, by the features that matter for 8-bit products. Pure.

Figures of different kinds are never one number: each kind has sections of its own in the results, and a column or a
heading of its own on the page. A machine whose features were masked (see `masking`) is of the kind that is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

KINDS = {
    "amx": "AMX",
    "vnni": "VNNI",
    "avx2": "AVX2 without VNNI",
    "arm": "ARM",
    "other": "other",
}
"""In the order of the page, with the words of it."""
PICTURE = "bench-{}.{}.svg"  # section, kind
Results = dict[str, dict[str, Any]]
"""Kind → section → figures."""


def kind_of(machine: dict[str, Any]) -> str:
    flags = set(machine["flags"])
    if machine.get("architecture", "x86_64") in ("aarch64", "arm64"):
        return "arm"
    if "amx_int8" in flags:
        return "amx"
    if flags & {"avx512_vnni", "avx_vnni"}:
        return "vnni"
    return "avx2" if "avx2" in flags else "other"


def exact_in_int8(kind: str) -> bool:
    """Whether products of 8-bit integers are summed in 32 bits at once: what the aims of int8 depend on."""
    return kind in ("amx", "vnni")


def in_order(kinds: Iterable[str]) -> list[str]:
    there = set(kinds)
    return [kind for kind in KINDS if kind in there]
