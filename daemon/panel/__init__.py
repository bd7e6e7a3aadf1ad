"""The operators' page and the admin API over TCP: access, one live stream for all viewers, the files of the page."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from ..answers.fleet import FleetAnswer
from ..answers.history import HistoryAnswer, HistoryLine
from ..answers.status import StatusAnswer
from ..api.events import Hub
from ..api.interface import AdminInterface
from .live_feed import Part

HISTORY_ROWS = 50


def parts_of(admin: AdminInterface, hub: Hub) -> Mapping[str, Part]:
    """The state for viewers, in parts. A part that takes long to read is read again only after an event about it."""

    def count(event: str) -> object:
        return hub.told[event]

    return {
        "status": Part(lambda: _to_the_minute(admin.status())),
        "workers": Part(admin.workers),
        "versions": Part(admin.versions),
        "traffic": Part(admin.traffic),
        "alerts": Part(admin.alerts),
        "rollout": Part(admin.newest_rollout),
        "fleet": Part(lambda: _away_to_the_minute(admin.fleet())),
        "gate": Part(lambda: hub.last.get("gate", {}), lambda: count("gate")),
        "sample": Part(lambda: hub.last.get("sample", {}), lambda: count("sample")),
        "history": Part(lambda: _newest_lines(admin), lambda: count("history")),
    }


async def _newest_lines(admin: AdminInterface) -> HistoryAnswer:
    """The newest history, without the verdicts and rollouts that its lines may carry."""
    lines = (await admin.history(HISTORY_ROWS, "", 0)).history
    return HistoryAnswer([HistoryLine(e.id, e.time, e.kind, e.version, e.because) for e in lines])


def _away_to_the_minute(fleet: FleetAnswer) -> FleetAnswer:
    """The same for a fleet's server that is away."""
    return replace(fleet, away_seconds=fleet.away_seconds // 60 * 60)


def _to_the_minute(status: StatusAnswer) -> StatusAnswer:
    """The status without the seconds, so that an unchanged state is not sent again."""
    beat = status.heartbeat
    beat = beat and replace(beat, seconds_ago=beat.seconds_ago // 60 * 60)
    return replace(status, uptime_seconds=status.uptime_seconds // 60 * 60, heartbeat=beat)
