"""Runs the bench as on an older processor: without AVX-512, VNNI and AMX, on a machine that has them.

ONNX Runtime, numpy and sherpa-onnx choose their code by CPUID. In a mount namespace of its own the bench runs with a
library that is loaded into every process and answers CPUID without those features (`mask.c`), and with a /proc/cpuinfo
that lists none of them. Clock, caches and memory stay those of the real machine. Nothing outside the namespace changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.facts import MASKED

SOURCE = Path(__file__).with_name("mask.c")
HIDDEN = re.compile(r"\b(?:avx512\w*|avx_vnni\w*|amx_\w+)\b")
TOOLS = ("unshare", "mount", "cc")
# $1 is the directory with the library and the text; the command follows
INSIDE = """
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" /etc
echo "$1/mask.so" > /etc/ld.so.preload
mount --bind "$1/cpuinfo" /proc/cpuinfo
shift
exec "$@"
"""


def missing() -> str:
    """Why nothing can be masked here; "" when it can."""
    if os.geteuid() != 0:
        return "masking the processor's features needs root"
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"masking the processor's features needs {', '.join(absent)}"
    if "cpuid_fault" not in Path("/proc/cpuinfo").read_text():
        return "this processor or kernel does not raise a signal at CPUID"
    return ""


def run(command: Sequence[str]) -> int:
    """The command's exit status, run with the features masked. Raises RuntimeError where that cannot be had."""
    if because := missing():
        raise RuntimeError(f"cannot measure: {because}")
    with tempfile.TemporaryDirectory(prefix="bench-mask-") as made:
        place = Path(made)
        subprocess.run(["mount", "-t", "tmpfs", "bench-mask", made], check=True)
        try:
            (place / "etc").mkdir()
            (place / "work").mkdir()
            (place / "cpuinfo").write_text(HIDDEN.sub("", Path("/proc/cpuinfo").read_text()))
            library = ["cc", "-O2", "-shared", "-fPIC", "-o", str(place / "mask.so"), str(SOURCE), "-ldl"]
            subprocess.run(library, check=True)
            inside = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", INSIDE, "sh", made, *command]
            return subprocess.run(inside, env={**os.environ, MASKED: "1"}, check=False).returncode
        finally:
            subprocess.run(["umount", made], check=True)


def again() -> int:
    """This program with the same words, masked."""
    return run([sys.executable, "-m", "tests.bench", *sys.argv[1:]])
