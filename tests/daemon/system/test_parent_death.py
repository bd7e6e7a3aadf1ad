"""A process that belongs to another one ends with it, as SIGTERM ends it, and never without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.support import PATIENCE_SECONDS, ended_after, eventually

CHILD = """
import os, signal, sys
from modelward.daemon.system.parent_death import end_with_parent
signal.signal(signal.SIGTERM, lambda *_: (print("ended", flush=True), os._exit(0)))
end_with_parent(os.environ)
print(os.getpid(), flush=True)
signal.pause()
"""
PARENT = """
import os, signal, subprocess, sys
from modelward.daemon.system.parent_death import given_to_child
subprocess.Popen([sys.executable, "-c", sys.argv[1]], env={**os.environ, **given_to_child()})
signal.pause()
"""


def test_a_parent_that_is_killed_ends_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    with ended_after(parent):
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        assert parent.stdout.readline() == "ended\n"
        eventually(lambda: not os.path.exists(f"/proc/{child}"))


def test_a_parent_that_ended_before_is_noticed_and_one_that_was_never_meant_is_not() -> None:
    late = {**os.environ, "MODELWARD_END_WITH_PARENT": "1"}
    done = subprocess.run([sys.executable, "-c", CHILD], env=late, capture_output=True, timeout=PATIENCE_SECONDS)
    assert done.stdout == b"ended\n"
    alone = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    with ended_after(alone):
        assert alone.stdout is not None and int(alone.stdout.readline()) == alone.pid
        alone.send_signal(signal.SIGKILL)
