"""`python -m modelward.worker.demo DIR`: writes the demo's versions and clips into DIR and reports each in one line.

Finished parts are left alone, so that it can run again after it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from ..sandbox.limits import die_with_parent
from . import build_broken_version, build_version, write_clips

_VERSIONS = {
    "dtmf-v1.0": partial(build_version, words=False),
    "dtmf-v1.1": partial(build_version, words=True),
    "dtmf-v1.2": partial(build_broken_version, words=True),
}


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 when something could not be written."""
    parser = argparse.ArgumentParser(prog="python -m modelward.worker.demo", description=__doc__)
    parser.add_argument("directory", type=Path, help="where versions/ and clips/ are written")
    directory: Path = parser.parse_args(arguments).directory
    try:
        for name, build in _VERSIONS.items():
            path = directory / "versions" / name
            if not path.is_dir():
                build(path)
            print(path)
        for path in write_clips(directory / "clips"):
            print(path)
    except OSError as e:
        print(f"cannot build the demo in {directory}: {e}; what was finished stays", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    die_with_parent()  # the command that waits for it may be killed
    sys.exit(main())
