"""What has come of a version that was started follows from the daemon's answers alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.answers import made

from modelward.daemon.answers.status import StatusAnswer
from modelward.daemon.answers.versions import VersionsAnswer
from modelward.daemon.cli.serve_outcome import outcome

NO = {"accepted": False, "because": "no tokens", "gates": []}
YES = {"accepted": True, "because": "", "gates": []}
LIVE_V1 = {"live": "v1", "serving": "v1", "ready": True, "rollout": None}
NONE = {"live": "", "serving": "", "ready": False, "rollout": None}
UNDER_WAY = {"id": "1", "version": "v2"}


def version(name: str, state: str, **fields: Any) -> dict[str, Any]:
    verdict = {"accepted": YES, "rejected": NO}.get(state)
    return {"version": name, "state": state, "verdict": verdict, **fields}


@pytest.mark.parametrize(
    ("status", "versions", "wanted", "kind", "named"),
    [
        # one version
        (NONE, [], "v1", "wait", ""),
        (NONE, [version("v1", "validating")], "v1", "wait", "v1"),
        (NONE, [version("v1", "accepted")], "v1", "wait", "v1"),
        (NONE, [version("v1", "rejected")], "v1", "refused", "v1"),
        ({**NONE, "ready": True}, [version("v1", "accepted", serving=["w1"])], "v1", "live", "v1"),
        (LIVE_V1, [version("v1", "accepted", live=True)], "v1", "live", "v1"),
        ({**LIVE_V1, "ready": False}, [version("v1", "accepted", live=True)], "v1", "wait", "v1"),
        # another one is served
        (LIVE_V1, [version("v1", "accepted", live=True), version("v2", "validating")], "v2", "wait", "v2"),
        (LIVE_V1, [version("v1", "accepted", live=True), version("v2", "accepted")], "v2", "ask", "v2"),
        ({**LIVE_V1, "rollout": UNDER_WAY}, [version("v2", "accepted", serving=["w1"])], "v2", "wait", "v2"),
        (LIVE_V1, [version("v1", "accepted", live=True), version("v2", "rejected")], "v2", "refused", "v2"),
        # a model root: whichever the daemon chooses
        (NONE, [], "", "wait", ""),
        (LIVE_V1, [version("v1", "accepted"), version("v2", "rejected")], "", "live", "v1"),
        (NONE, [version("v1", "validating"), version("v2", "rejected")], "", "wait", ""),
        (NONE, [version("v1", "rejected"), version("v2", "rejected")], "", "refused", ""),
    ],
)  # fmt: skip
def test_it_follows_from_status_and_versions(
    status: dict[str, Any], versions: list[dict[str, Any]], wanted: str, kind: str, named: str
) -> None:
    came = outcome(made(StatusAnswer, status), made(VersionsAnswer, {"versions": versions}), wanted)
    assert (came.kind, came.version) == (kind, named)
    assert bool(came.reasons) == (kind == "refused")


def test_every_reason_of_a_root_without_a_good_version_is_given() -> None:
    versions = made(VersionsAnswer, {"versions": [version("v1", "rejected"), version("v2", "rejected")]})
    assert outcome(made(StatusAnswer, NONE), versions, "").reasons == (("v1", "no tokens"), ("v2", "no tokens"))
