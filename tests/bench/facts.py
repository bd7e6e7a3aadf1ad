"""What machine this is and which versions were measured: the words beside every figure."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_OURS = ("modelward", "onnxruntime", "numpy", "starlette", "uvicorn")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "sve")
MASKED = "BENCH_MASKED"  # in the environment while features of the processor are masked
ROOT = Path(__file__).resolve().parents[2]


def machine() -> dict[str, Any]:
    """Processor, memory, kernel, interpreter, versions, and the day."""
    info = Path("/proc/cpuinfo").read_text()
    lines = dict(line.partition(":")[::2] for line in info.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": fields.get("model name", platform.processor() or platform.machine()),
        "architecture": platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        **({"masked": True} if os.environ.get(MASKED) else {}),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "versions": {name: version for name in _OURS if (version := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def commit() -> str:
    """The commit whose daemon and workers are measured, marked when they differ from it; "" outside a repository."""
    return _git("rev-parse", "--short=9", "HEAD") + (
        "-changed" if _git("status", "--short", "daemon", "worker") else ""
    )


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def busy() -> float:
    """How many processes wanted a processor in the last minute: above 0 before a section, others disturb it."""
    return round(os.getloadavg()[0], 1)


def run(took_seconds: int, busy_before: float) -> dict[str, Any]:
    """One call of the bench: what was typed, when, how long it took, what was measured, how busy the machine was."""
    return {
        "command": " ".join(["python -m tests.bench", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "took_seconds": took_seconds,
        "busy_before": busy_before,
        "commit": commit(),
    }
