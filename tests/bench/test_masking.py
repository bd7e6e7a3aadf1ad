"""A masked processor has no features that a newer one brought, for all programs of the run and for none beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bench import masking

ROOT = Path(__file__).resolve().parents[2]
WHY_NOT = masking.missing()
needs_it = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "features can be masked")
RUN = "import sys; from tests.bench import masking; masking.become(sys.argv[1:])"
# CPUID again in a child and after a handler was set, as a worker does
CHILD = """
import faulthandler, json, subprocess, sys
faulthandler.enable()
from numpy._core._multiarray_umath import __cpu_features__ as features
from tests.bench import facts, kinds
from modelward.worker.shared.machine_features import cpu_flags
if len(sys.argv) > 1:
    sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
m = facts.machine()
newer = sorted(name for name in cpu_flags() if name.startswith(("avx512", "avx_vnni", "amx")))
seen = sorted(name for name, there in features.items() if there and name.startswith("AVX512"))
print(json.dumps([kinds.kind_of(m), m["masked"], newer, seen, features["AVX2"]]))
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / ".imports")))
    words = [sys.executable, "-c", RUN, *command]
    return subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_only_names_of_newer_features_are_hidden() -> None:
    flags = "flags : fma avx2 avx512f avx512_vnni avx_vnni avx_vnni_int8 avx512_fp16 amx_tile amx_int8 sha_ni"
    assert re.sub(masking.HIDDEN, "", flags).split() == ["flags", ":", "fma", "avx2", "sha_ni"]


@pytest.mark.system
@needs_it
def test_a_masked_run_and_its_children_see_an_older_processor() -> None:
    done = run(sys.executable, "-c", CHILD, CHILD)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["avx2", True, [], [], True]


@pytest.mark.system
@needs_it
def test_nothing_of_a_masked_run_is_left() -> None:
    before = (
        Path("/proc/cpuinfo").read_text().partition("flags")[2].splitlines()[0],
        Path("/etc/ld.so.preload").exists(),
    )
    assert run("false").returncode == 1
    after = Path("/proc/cpuinfo").read_text().partition("flags")[2].splitlines()[0], Path("/etc/ld.so.preload").exists()
    assert after == before
    assert str(masking.PLACE) not in Path("/proc/self/mounts").read_text()
    assert not list(masking.PLACE.iterdir())


@pytest.mark.system
@needs_it
def test_a_program_that_breaks_ends_by_its_signal() -> None:
    broken = "import ctypes, faulthandler; faulthandler.enable(); ctypes.string_at(1)"
    done = run(sys.executable, "-c", broken)
    assert done.returncode == -11
    assert "Segmentation fault" in done.stderr
