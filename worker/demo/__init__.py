"""A small real recogniser that is made on the spot: it recognises DTMF telephone keys.

It has SenseVoice-small's signature and files. It is for trying modelward without a download, and for the tests. No
other part of the worker may depend on it.
"""

from __future__ import annotations

import os

# numpy reads it when it is loaded: on a busy machine, threads that wait for one another make learning four times slower
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from .clips import write_clips
from .files import build_broken_version, build_version
from .synth import dial

__all__ = ["build_broken_version", "build_version", "dial", "write_clips"]
