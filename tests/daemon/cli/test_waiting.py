"""A version that waits for its compiled form is shown as waiting, by status, versions and progress."""

from __future__ import annotations

import io

from tests.fakes.admin import FakeAdmin
from tests.fakes.answers import made

from modelward.daemon.answers.status import StatusAnswer
from modelward.daemon.answers.versions import VersionReport
from modelward.daemon.cli import status, versions
from modelward.daemon.cli.client import Client
from modelward.daemon.cli.progress import Progress

BECAUSE = "waiting for its compiled form (3 of at most 60 s)"
WAITING = {"live": "v1.0", "ready": True, "waiting": {"version": "v1.1", "because": BECAUSE}}


def test_status_has_a_line_for_it() -> None:
    assert f"waiting  v1.1: {BECAUSE}" in status.lines(made(StatusAnswer, WAITING))
    quiet = status.lines(made(StatusAnswer, {**WAITING, "waiting": None}))
    assert not [line for line in quiet if line.startswith("waiting")]


def test_versions_shows_it_before_the_verdict() -> None:
    version = {"verdict": {"because": "all gates passed"}}
    assert versions.because(made(VersionReport, {**version, "waiting": BECAUSE})) == BECAUSE
    assert versions.because(made(VersionReport, version)) == "all gates passed"


def test_activate_shows_it_as_progress(admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/status", WAITING)
    out = io.StringIO()
    Progress(Client(str(admin.socket_path)), out).tick()
    assert out.getvalue() == f"v1.1: {BECAUSE}\n"
