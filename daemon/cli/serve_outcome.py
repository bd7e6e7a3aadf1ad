"""What has come of a version that `modelward serve` started: to wait, to ask for it, live, or refused with the reasons.

Pure: it reads two answers of the daemon. Invariant: nothing is refused while a version may still be accepted.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ..answers.status import StatusAnswer
from ..answers.versions import VersionReport, VersionsAnswer


class ServeOutcome(Struct, frozen=True):
    """`ask`: it is accepted, but another version is served: a command has to choose it. `reasons` are "NAME: why"."""

    kind: Literal["wait", "ask", "live", "refused"]
    version: str = ""
    reasons: tuple[tuple[str, str], ...] = ()


def outcome(status: StatusAnswer, versions: VersionsAnswer, wanted: str) -> ServeOutcome:
    """`wanted` is the version that is to be served; "": whichever the daemon chooses from its model root."""
    known = {version.version: version for version in versions.versions}
    if wanted:
        return _of(known.get(wanted), status)
    if status.ready and status.live:
        return ServeOutcome("live", status.live)
    if known and all(version.state == "rejected" for version in known.values()):
        return ServeOutcome("refused", reasons=tuple(_why(version) for version in known.values()))
    return ServeOutcome("wait")


def _of(version: VersionReport | None, status: StatusAnswer) -> ServeOutcome:
    if version is None:
        return ServeOutcome("wait")
    if version.state == "rejected":
        return ServeOutcome("refused", version.version, (_why(version),))
    if not status.live and status.ready and version.serving:
        return ServeOutcome("live", version.version)  # one worker answers; the others follow
    if status.rollout is not None:
        return ServeOutcome("wait", version.version)
    if version.live and status.ready and status.serving == version.version:
        return ServeOutcome("live", version.version)
    if version.state == "accepted" and status.live not in ("", version.version):
        return ServeOutcome("ask", version.version)
    return ServeOutcome("wait", version.version)


def _why(version: VersionReport) -> tuple[str, str]:
    return version.version, version.verdict.because if version.verdict else ""
