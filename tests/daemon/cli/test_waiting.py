"""A version that waits for its compiled form is shown as waiting, by status, versions and progress."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from modelward.daemon.cli import status, versions
from modelward.daemon.cli.progress import Progress

BECAUSE = "waiting for its compiled form (3 of at most 60 s)"
WAITING: dict[str, Any] = {"live": "v1.0", "ready": True, "waiting": {"version": "v1.1", "because": BECAUSE}}


def test_status_has_a_line_for_it() -> None:
    assert f"waiting  v1.1: {BECAUSE}" in status.lines(WAITING)
    assert not [line for line in status.lines({**WAITING, "waiting": None}) if line.startswith("waiting")]


def test_versions_shows_it_before_the_verdict() -> None:
    version = {"verdict": {"because": "all gates passed"}, "waiting": BECAUSE}
    assert versions.because(version) == BECAUSE
    assert versions.because({**version, "waiting": None}) == "all gates passed"


def test_activate_shows_it_as_progress() -> None:
    client: Any = SimpleNamespace(get=lambda path: SimpleNamespace(data=WAITING))
    out = io.StringIO()
    Progress(client, out).tick()
    assert out.getvalue() == f"v1.1: {BECAUSE}\n"
