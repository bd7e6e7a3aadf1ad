"""python -m tests.soak [--seconds 600] [--seed N]: everything that may happen to the service, under load; exit status 1
when a promise was broken. Given root it takes a mount namespace of its own, for disks that it may fill.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import soak

_PROBE = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]


def _in_private_mounts() -> None:
    """Becomes the same program in a mount namespace of its own, where that is permitted."""
    if os.geteuid() or "MODELWARD_SOAK_MOUNTS" in os.environ or shutil.which("unshare") is None:
        return
    if subprocess.run(_PROBE, capture_output=True, check=False).returncode == 0:
        os.environ["MODELWARD_SOAK_MOUNTS"] = "1"
        again = [sys.executable, "-m", "tests.soak", *sys.argv[1:]]
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", *again])


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None, help="replays the plan of an earlier soak")
    parser.add_argument("--keep", type=Path, default=None, help="where the logs are left, also of a good end")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    _in_private_mounts() if given.seed is not None else _with_seed(seed)
    logging.disable(logging.WARNING)  # what libraries advise while they make versions
    base = Path(tempfile.mkdtemp(prefix="modelward-soak-"))
    report = soak(base, seed, given.seconds)
    print(report.text())
    if report.broken or given.keep:
        kept = given.keep or Path(tempfile.mkdtemp(prefix=f"modelward-soak-{seed}-logs-"))
        report.keep(kept)
        print(f"the logs are in {kept}")
    report.town.clear()
    return 1 if report.broken else 0


def _with_seed(seed: int) -> None:
    """The seed is drawn before the program begins anew."""
    sys.argv += ["--seed", str(seed)]
    _in_private_mounts()


if __name__ == "__main__":
    sys.exit(main())
