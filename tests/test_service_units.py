"""What the units promise for days that no test brings about."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parent.parent / "systemd"


@pytest.mark.parametrize("name", ["modelward.service", "modelward@.service"])
def test_the_units_keep_what_only_a_bad_day_shows(name: str) -> None:
    unit = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.read(UNITS / name)
    service = unit["Service"]
    assert service["OOMPolicy"] == "continue"  # the kernel ends one worker, and systemd does not end the rest
    assert (service["Restart"], unit["Unit"]["StartLimitIntervalSec"]) == ("always", "0")
    assert (service["KillMode"], service["RuntimeDirectoryPreserve"]) == ("process", "restart")
    assert int(service["WatchdogSec"]) > 0 and int(service["LimitNOFILE"]) >= 65536
