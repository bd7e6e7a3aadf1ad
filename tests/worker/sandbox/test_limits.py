"""Limits hold in a real process, and what can't be set is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
PRELUDE = (
    "import os, resource, sys\n"
    "from modelward.worker.sandbox.limits import PARENT_PID, ProcessLimits, apply_limits\n"
    "from modelward.worker.sandbox.limits import die_with_parent, return_freed_memory\n"
)


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".imports"), "OPENBLAS_NUM_THREADS": "1"},
    )


def test_everything_can_be_limited_here() -> None:
    done = run(
        "limits = ProcessLimits(memory_bytes=1 << 30, address_bytes=4 << 30, cpu_seconds=5, file_bytes=1000)\n"
        "problems = apply_limits(limits)\n"
        "status = open('/proc/self/status').read()\n"
        "print(problems, 'NoNewPrivs:\\t1' in status, os.nice(0) >= 10, resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert done.stdout.strip() == "() True True (0, 0)", done.stderr


def test_a_large_allocation_fails_instead_of_eating_the_machine() -> None:
    done = run(
        "apply_limits(ProcessLimits(memory_bytes=512 << 20))\n"
        "import numpy, onnxruntime\n"
        "try:\n    numpy.empty(64 << 30, dtype=numpy.uint8)\n"
        "except MemoryError as e:\n    print('refused')\n"
    )
    assert done.stdout.strip() == "refused", done.stderr


def test_a_process_that_computes_for_ever_is_ended_by_a_signal_that_says_why() -> None:
    done = run("apply_limits(ProcessLimits(cpu_seconds=1))\nwhile True: pass\n")
    assert done.returncode == -signal.SIGXCPU


def test_a_file_cannot_grow_past_its_limit() -> None:
    done = run(
        "import tempfile\napply_limits(ProcessLimits(file_bytes=1000))\n"
        "with tempfile.TemporaryFile(buffering=0) as f:\n"
        "    f.write(bytes(1000))\n"
        "    try:\n        f.write(b'x')\n"
        "    except OSError as e:\n        print(e.strerror)\n"
    )
    assert done.stdout.strip() == "File too large", done.stderr


def test_a_limit_is_never_raised() -> None:
    done = run(
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "print(apply_limits(ProcessLimits(open_files=10_000)), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    assert done.stdout.strip() == "() (64, 64)", done.stderr


def test_zero_means_no_limit() -> None:
    done = run(
        "before = [resource.getrlimit(w) for w in (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)]\n"
        "apply_limits(ProcessLimits())\n"
        "print(before == [resource.getrlimit(w)"
        " for w in (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)])"
    )
    assert done.stdout.strip() == "True", done.stderr


def test_freed_memory_goes_back_to_the_system() -> None:
    done = run(
        "return_freed_memory()\n"
        "blocks = [bytearray(1 << 20) for _ in range(100)]\n"
        "for block in blocks: block[::4096] = b'x' * 256\n"
        "last = bytearray(200_000)\n"
        "del blocks, block\n"
        "import re\n"
        "print(int(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1]) < 50_000)"
    )
    assert done.stdout.strip() == "True", done.stderr


def test_a_child_that_begins_when_its_parent_has_ended_ends_too() -> None:
    said = "die_with_parent()\nprint('works on', flush=True)"
    assert run(f"os.environ[PARENT_PID] = str(os.getppid())\n{said}").stdout == "works on\n"
    late = run(f"os.environ[PARENT_PID] = '1'\n{said}")
    assert (late.returncode, late.stdout) == (1, "")
