"""Measures what the daemon and its workers cost while nothing happens: memory, processor, wake-ups, children.

Run as `python -m tests.bench.idle_bench [--seconds N] [--viewer] [--where DIR]`. A daemon with every key at its default
(but for paths and ports), the panel on and two idle workers; with `--viewer` somebody watches the panel's stream.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.house import House, free_port
from tests.idle import at_rest
from tests.versions import good_version

WARM_UP_SECONDS = 75.0
"""Past the first sweep, and past what a start holds back for a minute."""


def house_in(root: Path, panel: int) -> House:
    """A house that leaves the daemon's defaults alone."""
    usual: dict[str, dict[str, object]] = {
        "models": {"settle": 2, "rescan": 5},
        "rollout": {"bake": 10, "reload_timeout": 60},
        "panel": {"listen": f"127.0.0.1:{panel}"},
    }
    return House(root, usual)


@contextlib.contextmanager
def viewer(port: int) -> Iterator[None]:
    """Somebody who looks at the panel."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", "/live")
    response = connection.getresponse()
    reader = threading.Thread(target=lambda: _drain(response), daemon=True)
    reader.start()
    try:
        yield
    finally:
        connection.close()


def _drain(response: http.client.HTTPResponse) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
        while response.read1(65536):
            pass


def measure(where: Path, seconds: float, watched: bool) -> dict[str, Any]:
    port = free_port()
    house = house_in(where, port)
    good_version(house.models, "dtmf-v1.0")
    try:
        house.start()
        house.await_serving("dtmf-v1.0", 90)
        house.transcribe()
        with viewer(port) if watched else contextlib.nullcontext():
            time.sleep(WARM_UP_SECONDS)
            assert house.process is not None
            found: dict[str, Any] = {"daemon": asdict(at_rest(house.process.pid, seconds))}
            found["worker"] = asdict(at_rest(house.workers()[0]["pid"], min(seconds, 30)))
        return found
    finally:
        house.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--viewer", action="store_true")
    parser.add_argument("--where", default=None)
    args = parser.parse_args()
    where = Path(tempfile.mkdtemp(prefix="modelward-idle-", dir=args.where))
    try:
        print(json.dumps(measure(where, args.seconds, args.viewer), indent=2))
    finally:
        shutil.rmtree(where, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
