"""Half a minute of the soak (tests/soak): all that may happen, side by side, under load. `make soak` is longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
SECONDS, SEED = 25, 14  # a seed whose half minute has every kind of action that matters


def test_half_a_minute_of_everything_keeps_every_promise(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--seconds", str(SECONDS), "--seed", str(SEED), "--keep", tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "soak.log").read_text(encoding="utf-8")
