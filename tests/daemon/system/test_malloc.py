"""A process that gives back what its start used, tried in interpreters of their own: it cannot be undone."""

from __future__ import annotations

import subprocess
import sys

from tests.support import PATIENCE_SECONDS

HOLES = """
import sys; sys.path[:0] = {path!r}
from modelward.daemon.system import malloc as lean
def mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
{first}
kept = [bytearray(1000) for _ in range(60_000)]
del kept[:-1]  # the last one keeps the heap from shrinking at its end
before = mib()
lean.after_start()
print(before - mib())
"""


def _freed_mib(first: str) -> float:
    code = HOLES.format(path=sys.path, first=first)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    return float(done.stdout)


def test_gives_back_the_holes_that_the_start_left() -> None:
    assert _freed_mib("lean.few_heaps()") > 30


def test_threads_share_one_heap() -> None:
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
import threading
from modelward.daemon.system import malloc as lean
lean.few_heaps()
done = threading.Event()
def work():
    block = bytearray(5000); done.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
# A heap of a thread's own is a reservation of 64 MiB, most of which may not be touched yet.
spans = [map(lambda x: int(x, 16), l.split()[0].split("-")) for l in open("/proc/self/maps") if " ---p " in l]
print(sum(end - start > 32 << 20 for start, end in spans))
done.set()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    assert done.stdout.strip() == "0"
