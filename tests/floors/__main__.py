"""`python -m tests.floors DIR`: runs the core of the suite with every dependency at its floor.

Makes an environment in DIR, or uses the one that is there when pyproject.toml asks for the same floors. A floor is
the release named in pyproject.toml after ">="; what a floor needs itself may be newer. Asks the package registry alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.floors.core import core
from tests.floors.pins import pins

ROOT = Path(__file__).resolve().parents[2]


def main(directory: Path) -> int:
    """The exit status of the first step that fails, else 0."""
    python = directory / "bin" / "python"
    wanted = "\n".join(pins((ROOT / "pyproject.toml").read_text()))
    made = directory / "floors.txt"
    if not made.exists() or made.read_text() != wanted:
        venv.create(directory, clear=True, with_pip=True)
        given = directory / "asked.txt"
        given.write_text(wanted)
        command = [python, "-m", "pip", "install", "--quiet", "--requirement", given]
        if status := subprocess.run(command, cwd=ROOT).returncode:
            return status
        given.rename(made)
    command = [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *core()]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / ".imports")}).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
