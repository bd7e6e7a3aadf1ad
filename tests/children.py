"""Programs that behave badly, for tests with real children: each is run by `program(CODE, *arguments)`.

Where a test must know that a child is ready to misbehave, the child makes the file named by its first argument.
"""

from __future__ import annotations

import sys

EXIT_1 = "raise SystemExit(1)"
EXIT_3 = "raise SystemExit(3)"
HANG = "import signal; signal.pause()"
SEGFAULT = """
import os, resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.kill(os.getpid(), signal.SIGSEGV)
"""
IGNORES_SIGTERM = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
while True:
    signal.pause()
"""
SPAWNS_GRANDCHILD = f"""
import os, signal, subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-S", "-c", {IGNORES_SIGTERM!r}, sys.argv[1] + ".grandchild"])
while not os.path.exists(sys.argv[1] + ".grandchild"):
    pass
with open(sys.argv[1] + ".tmp", "w") as f:
    f.write(str(grandchild.pid))
os.rename(sys.argv[1] + ".tmp", sys.argv[1])
signal.pause()
"""
EATS_MEMORY = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
eaten = []
while True:
    eaten.append(bytearray(16 << 20))
"""


def program(code: str, *arguments: str) -> list[str]:
    """The command line of a child; without site packages it starts in a few hundredths of a second."""
    return [sys.executable, "-I", "-S", "-c", code, *arguments]
