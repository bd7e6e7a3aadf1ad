"""An AdminInterface with scripted answers, and the real panel over it on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response
from tests.fakes.answers import made
from tests.support import PATIENCE_SECONDS

from modelward.daemon.answers.alerts import AlertsAnswer, AlertsTestAnswer, SeriesAnswer
from modelward.daemon.answers.commands import CommandOutcome, PanelLinkAnswer, ReloadOutcome, ValidateOutcome
from modelward.daemon.answers.disk import DiskAnswer, SweepAnswer
from modelward.daemon.answers.fleet import FleetAnswer
from modelward.daemon.answers.history import HistoryAnswer
from modelward.daemon.answers.logs import LogFilesAnswer, LogsAnswer, LogTailAnswer, RotateAnswer
from modelward.daemon.answers.rollouts import RolloutAnswer
from modelward.daemon.answers.status import StatusAnswer
from modelward.daemon.answers.traffic import TrafficAnswer
from modelward.daemon.answers.uploads import UploadFile, UploadPiece, UploadReport, UploadsAnswer
from modelward.daemon.answers.versions import VersionsAnswer
from modelward.daemon.answers.workers import WorkersAnswer
from modelward.daemon.api.app import application
from modelward.daemon.api.events import Hub
from modelward.daemon.config.load import Panel
from modelward.daemon.errors import Refused
from modelward.daemon.panel import parts_of
from modelward.daemon.panel.live_feed import Feed
from modelward.daemon.panel.server import PanelServer
from modelward.daemon.system.clock import SystemClock

Json = dict[str, Any]
T = TypeVar("T", bound=msgspec.Struct)


class FakeDesk:
    """Answers from its attributes; `requests` is what it was asked to do. A request for "no-such" is refused."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, object]] = []
        self.state: Json = {
            "live": "v1",
            "serving": "v1",
            "previous": "v0",
            "ready": True,
            "uptime_seconds": 12.5,
            "alerts": [],
        }
        self.shown: Json = {"versions": []}
        self.registry: Json = {"workers": []}
        self.alarms: Json = {"alerts": [], "channels": []}
        self.newest: Json = {}
        self.lines: list[Json] = []
        self.asked_history = 0
        self.hour: Json = {"interval_seconds": 10, "times": [], "series": {}}
        self.longer: Json = self.hour
        self.answered: Json = {"since": "2026-12-01T00:00:00.000Z"}
        self.sent: dict[str, Json] = {}
        self.read_only = ""
        self.space: Json = {}
        self.log_truncated = self.log_busy = False
        self.log_lines: dict[str, list[str]] = {}
        self.fleet_seen: Json = {"server": ""}
        self.swept: Json = {"listed": []}
        self.rotated: Json = {}

    def status(self) -> StatusAnswer:
        return made(StatusAnswer, self.state)

    def versions(self) -> VersionsAnswer:
        return made(VersionsAnswer, self.shown)

    def workers(self) -> WorkersAnswer:
        return made(WorkersAnswer, self.registry)

    def alerts(self) -> AlertsAnswer:
        return made(AlertsAnswer, self.alarms)

    def series(self, span: str) -> SeriesAnswer:
        return made(SeriesAnswer, self.hour if span == "1h" else self.longer)

    def traffic(self) -> TrafficAnswer:
        return made(TrafficAnswer, self.answered)

    def fleet(self) -> FleetAnswer:
        return made(FleetAnswer, self.fleet_seen)

    def metrics(self) -> str:
        return "# EOF\n"

    def rollout(self, rollout: str) -> RolloutAnswer:
        return made(RolloutAnswer, self.newest)

    def newest_rollout(self) -> RolloutAnswer | None:
        return made(RolloutAnswer, self.newest) if self.newest else None

    def alive(self) -> bool:
        return True

    def ready(self) -> bool:
        return bool(self.state["ready"])

    async def panel_link(self) -> PanelLinkAnswer:
        raise Refused("cannot make a link: an interface from a script has no panel")

    async def history(self, count: int, kind: str, before: int = 0) -> HistoryAnswer:
        self.asked_history += 1
        found = [e for e in self.lines if kind in ("", e["kind"]) and (not before or e["id"] < before)]
        return made(HistoryAnswer, {"history": found[:count]})

    async def disk(self, progress: bool = False) -> DiskAnswer:
        return made(DiskAnswer, self.space)

    async def logs(self) -> LogsAnswer:
        found = [{"name": n, "path": f"/var/log/{n}", "bytes": 9, "own": True} for n in self.log_lines]
        return made(LogsAnswer, {"logs": found})

    async def log(self, name: str, lines: int) -> LogTailAnswer:
        return LogTailAnswer(name, f"/var/log/{name}", self.log_lines.get(name, [])[-lines:], self.log_truncated)

    async def log_files(self, name: str) -> LogFilesAnswer:
        return LogFilesAnswer(name, f"/var/log/{name}", 2, 900, f"2026-12-01-{name}", self.log_busy)

    async def log_download(self, name: str, head_only: bool) -> Response:
        lines = "".join(f"{line}\n" for line in self.log_lines[name])
        return Response(lines, headers={"Content-Disposition": f"attachment; filename=2026-12-01-{name}"})

    async def sweep(self, dry_run: bool) -> SweepAnswer:
        self.requests.append(("sweep", dry_run))
        return made(SweepAnswer, self.swept | {"dry_run": dry_run})

    async def rotate(self, force: bool, dry_run: bool, file: str) -> RotateAnswer:
        self.requests.append(("rotate", (dry_run, force)))
        return made(RotateAnswer, self.rotated | {"dry_run": dry_run})

    def _wish(self, verb: str, about: object, kind: type[T]) -> T:
        self.requests.append((verb, about))
        if about == "no-such":
            raise Refused(f"cannot {verb} no-such: there is none")
        return made(kind, {"success": True, "message": f"{verb} done"})

    async def activate(self, version: str, wait: bool) -> CommandOutcome:
        return self._wish("activate", version, CommandOutcome)

    async def rollback(self, wait: bool) -> CommandOutcome:
        return self._wish("rollback", "", CommandOutcome)

    async def hold(self, version: str) -> CommandOutcome:
        return self._wish("hold", version, CommandOutcome)

    async def release(self, version: str) -> CommandOutcome:
        return self._wish("release", version, CommandOutcome)

    async def validate(self, version: str, wait: bool) -> ValidateOutcome:
        return self._wish("validate", version, ValidateOutcome)

    async def restart(self, worker: str, wait: bool) -> CommandOutcome:
        return self._wish("restart", worker, CommandOutcome)

    async def reload(self) -> ReloadOutcome:
        return self._wish("reload", "", ReloadOutcome)

    async def rescan(self, wait: bool) -> CommandOutcome:
        return self._wish("rescan", "", CommandOutcome)

    async def delete(self, version: str) -> CommandOutcome:
        return self._wish("delete", version, CommandOutcome)

    async def uploads(self) -> UploadsAnswer:
        return made(
            UploadsAnswer, {"uploads": list(self.sent.values()), "piece_bytes": 1 << 20, "refused": self.read_only}
        )

    async def begin_upload(self, version: str, kind: str, files: list[UploadFile]) -> UploadReport:
        self.requests.append(("begin upload", (version, kind)))
        listed = [{"path": file.path, "bytes": file.bytes, "received": 0} for file in files]
        total = sum(file.bytes for file in files)
        shape = {"id": f"{len(self.sent):016x}", "version": version, "kind": kind, "bytes": total, "files": listed}
        self.sent[shape["id"]] = shape | {"touched": "2026-12-01T00:00:00.000Z"}
        return made(UploadReport, self.sent[shape["id"]])

    async def take_piece(self, upload: str, number: int, offset: int, pieces: AsyncIterator[bytes]) -> UploadPiece:
        data = b"".join([piece async for piece in pieces])
        file = self.sent[upload]["files"][number]
        file["received"] = offset + len(data)
        return UploadPiece(file["received"])

    async def finish_upload(self, upload: str) -> CommandOutcome:
        return self._wish("finish upload", self.sent.pop(upload)["version"], CommandOutcome)

    async def drop_upload(self, upload: str) -> CommandOutcome:
        return self._wish("drop upload", self.sent.pop(upload)["version"], CommandOutcome)

    async def test_alerts(self) -> AlertsTestAnswer:
        return self._wish("test alerts", "", AlertsTestAnswer)

    async def mute_alerts(self, name: str, duration: object, why: str) -> CommandOutcome:
        return self._wish("mute", name, CommandOutcome)

    async def unmute_alerts(self, name: str) -> CommandOutcome:
        return self._wish("unmute", name, CommandOutcome)

    async def acknowledge_alerts(self, name: str, why: str) -> CommandOutcome:
        return self._wish("acknowledge", name, CommandOutcome)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The error's type, "" without one."""
        return str(self.json["error"]["type"]) if self.status >= 400 and self.body else ""


@dataclass
class RunningPanel:
    """A panel that answers on `port` until its block ends."""

    admin: FakeDesk
    hub: Hub
    server: PanelServer
    feed: Feed
    loop: asyncio.AbstractEventLoop
    host: str = "127.0.0.1"
    default_headers: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.server.port

    def ask(self, method: str, path: str, body: Any = None, /, **headers: str) -> Answer:
        """One request on a connection of its own; header names with _ for -. "" leaves a default header out."""
        sent = {"Host": f"{self.host}:{self.port}", **self.default_headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if data is not None:
                sent.setdefault("Content-Length", str(len(data)))
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def link(self) -> str:
        """A new link that logs one browser in."""
        made = asyncio.run_coroutine_threadsafe(self.server.link(), self.loop)
        return str(made.result(PATIENCE_SECONDS).url)

    def tell(self, event: str, data: Json) -> None:
        """The daemon tells an event."""
        self.loop.call_soon_threadsafe(self.hub.tell, event, data)


@contextlib.contextmanager
def running_panel(
    admin: FakeDesk | None = None,
    operator: Callable[[int], bool] | None = None,
    *,
    state_dir: Path | None = None,
    **keys: object,
) -> Iterator[RunningPanel]:
    """The panel with these keys of [panel] over a fake admin interface, in a thread of its own.

    `operator` says which users need no token where none is named; by default the one that runs the tests.
    """
    config = Panel(**{"listen": "127.0.0.1:0", **keys})
    admin, hub = admin or FakeDesk(), Hub()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        feed = Feed(parts_of(admin, hub), look_seconds=0.1)
        with tempfile.TemporaryDirectory() as state:
            server = PanelServer(
                config, application(admin, hub), feed, SystemClock(),
                state_dir=state_dir or Path(state), operator=operator or (lambda uid: uid == os.geteuid()),
            )  # fmt: skip
            _wait(loop, server.open())
            yield RunningPanel(admin, hub, server, feed, loop)
    finally:
        hub.close()
        _wait(loop, server.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "the panel's loop does not end"
        loop.close()


def _wait(loop: asyncio.AbstractEventLoop, work: Any) -> None:
    asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_SECONDS)
