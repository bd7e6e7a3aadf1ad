"""`python -m tests.fuzz MINUTES`: the deep run, round after round with other inputs, until the time is over.

A round is every test whose inputs are made by Hypothesis, and the requests from the description of the admin API.
Stops after the first round that finds something; its seed and the input are printed, for an `@example` in the test.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from typing import Final

SELECTED: Final = "hypothesis or test_no_request_that_its_description_allows_makes_the_api_fail"


def main(minutes: float) -> int:
    """0 when nothing was found."""
    until, number = time.monotonic() + 60 * minutes, 0
    while (left := until - time.monotonic()) > 0:
        number += 1
        seed = secrets.randbits(32)
        print(f"round {number}, seed {seed}, {left / 60:.1f} minutes left", flush=True)
        words = ["-m", "pytest", "-k", SELECTED, "-q", "--timeout=900", f"--hypothesis-seed={seed}"]
        status = subprocess.run([sys.executable, *words], env={**os.environ, "MODELWARD_FUZZ": "deep"}).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 15))
