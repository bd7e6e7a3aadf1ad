"""Runs the bench as on an older processor: without AVX-512, VNNI and AMX, on a machine that has them.

ONNX Runtime, numpy and sherpa-onnx choose their code by CPUID. In a mount namespace of its own the bench runs with a
library that is loaded into every process and answers CPUID without those features (`mask.c`), and with a /proc/cpuinfo
that lists none of them. Clock, caches and memory stay those of the real machine. Nothing outside the namespace changes,
and it goes with the last process of the run.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tests.bench.facts import MASKED

SOURCE = Path(__file__).with_name("mask.c")
PLACE = Path(tempfile.gettempdir()) / "modelward-bench-mask"  # empty but in the namespace
TOOLS = ("unshare", "mount", "cc", "sed")
HIDDEN = r"\b(avx512|avx_vnni|amx_)[a-z0-9_]*"
# $1 is the place, $2 the source, $3 what is hidden; the command follows
INSIDE = """
mount -t tmpfs mask "$1"
mkdir "$1/etc" "$1/work"
cc -O2 -shared -fPIC -o "$1/mask.so" "$2" -ldl
sed -E "s/$3//g" /proc/cpuinfo > "$1/cpuinfo"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" /etc
echo "$1/mask.so" > /etc/ld.so.preload
mount --bind "$1/cpuinfo" /proc/cpuinfo
shift 3
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


def become(command: Sequence[str]) -> NoReturn:
    """The command takes the place of this process, with the features masked. Raises RuntimeError where it cannot."""
    if because := missing():
        raise RuntimeError(f"cannot measure: {because}")
    PLACE.mkdir(exist_ok=True)
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", INSIDE, "sh"]
    os.execvpe("unshare", [*inside, str(PLACE), str(SOURCE), HIDDEN, *command], {**os.environ, MASKED: "1"})


def again() -> NoReturn:
    """This program with the same words, masked."""
    become([sys.executable, "-m", "tests.bench", *sys.argv[1:]])
