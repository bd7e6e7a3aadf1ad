"""The admin API: one table of routes, each with the access it needs.

Nothing changes state on GET. An answer is a structure of `daemon.answers`, encoded in one place; errors too. Bodies are
small JSON objects; what a client sends is a name looked up in memory, never a path, a command or a method.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct, convert
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ...worker.shared.arrival import arrival_of
from ...worker.shared.prometheus_text import CONTENT_TYPE
from ...worker.shared.unreadable import UNREADABLE
from ..answers.alerts import SPANS, AlertsAnswer, AlertsTestAnswer, SeriesAnswer
from ..answers.commands import (
    CommandAccepted,
    CommandOutcome,
    ErrorAnswer,
    ErrorReport,
    PanelLinkAnswer,
    ReloadOutcome,
    ValidateOutcome,
)
from ..answers.disk import DiskAnswer, DiskProgressAnswer, SweepAnswer
from ..answers.encode import encoded
from ..answers.fleet import FleetAnswer
from ..answers.history import HistoryAnswer
from ..answers.logs import LogFilesAnswer, LogsAnswer, LogTailAnswer, RotateAnswer
from ..answers.rollouts import RolloutAnswer
from ..answers.status import HealthAnswer, ReadyAnswer, StatusAnswer
from ..answers.traffic import TrafficAnswer
from ..answers.uploads import UploadFile, UploadPiece, UploadReport, UploadsAnswer
from ..answers.versions import VersionsAnswer
from ..answers.workers import WorkersAnswer
from ..errors import BadConfig, ModelwardError, NotKnown
from .events import Hub
from .interface import AdminInterface
from .language import in_language
from .request_body import fields, flag, name, text_of

MAX_ROWS: Final = 1000
MAX_LINES: Final = 5000
MAX_ROW: Final = 2**53  # as far as JSON's readers count

JSON: Final = "application/json"
Handler = Callable[[AdminInterface, Request], Awaitable[Struct | Response]]
"""The type that it returns describes the answer in the API; a Response is described in openapi.ABOUT."""


async def status(admin: AdminInterface, request: Request) -> StatusAnswer:
    return admin.status()


async def versions(admin: AdminInterface, request: Request) -> VersionsAnswer:
    return admin.versions()


async def workers(admin: AdminInterface, request: Request) -> WorkersAnswer:
    return admin.workers()


async def alerts(admin: AdminInterface, request: Request) -> AlertsAnswer:
    return admin.alerts()


async def series(admin: AdminInterface, request: Request) -> SeriesAnswer:
    span = request.query_params.get("span", "1h")
    if span not in SPANS:
        raise HTTPException(400, f"cannot use span={span[:40]!r}: {', '.join(SPANS)}")
    return admin.series(span)


async def traffic(admin: AdminInterface, request: Request) -> TrafficAnswer:
    return admin.traffic()


async def fleet(admin: AdminInterface, request: Request) -> FleetAnswer:
    return admin.fleet()


async def metrics(admin: AdminInterface, request: Request) -> Response:
    return Response(admin.metrics(), headers={"Content-Type": CONTENT_TYPE})


async def test_alerts(admin: AdminInterface, request: Request) -> AlertsTestAnswer:
    return await admin.test_alerts()


async def mute_alerts(admin: AdminInterface, request: Request) -> CommandOutcome:
    given = await fields(request)
    duration = given.get("duration")
    if isinstance(duration, bool) or not isinstance(duration, str | int | float):
        raise HTTPException(400, "cannot do that: 'duration' must be a text like \"4h\" or a number of seconds")
    why = text_of(given, "why", optional=True)
    return await admin.mute_alerts(text_of(given, "name"), duration, why)


async def unmute_alerts(admin: AdminInterface, request: Request) -> CommandOutcome:
    return await admin.unmute_alerts(await name(request, "name", optional=True))


async def acknowledge_alerts(admin: AdminInterface, request: Request) -> CommandOutcome:
    given = await fields(request)
    why = text_of(given, "why", optional=True)
    return await admin.acknowledge_alerts(text_of(given, "name"), why)


async def history(admin: AdminInterface, request: Request) -> HistoryAnswer:
    count, before = number(request, "n", 50, MAX_ROWS), number(request, "before", 0, MAX_ROW)
    return await admin.history(count, request.query_params.get("kind", ""), before)


async def rollout(admin: AdminInterface, request: Request) -> RolloutAnswer:
    return admin.rollout(request.path_params["rollout"])


async def disk(admin: AdminInterface, request: Request) -> DiskAnswer | DiskProgressAnswer:
    return await admin.disk(request.query_params.get("progress", "") not in ("", "0"))


async def logs(admin: AdminInterface, request: Request) -> LogsAnswer:
    return await admin.logs()


async def log(admin: AdminInterface, request: Request) -> LogTailAnswer:
    return await admin.log(request.path_params["name"], number(request, "lines", 100, MAX_LINES))


async def log_files(admin: AdminInterface, request: Request) -> LogFilesAnswer:
    return await admin.log_files(request.path_params["name"])


async def log_download(admin: AdminInterface, request: Request) -> Response:
    return await admin.log_download(request.path_params["name"], head_only=request.method == "HEAD")


async def health(admin: AdminInterface, request: Request) -> HealthAnswer:
    return HealthAnswer(admin.alive())


async def ready(admin: AdminInterface, request: Request) -> ReadyAnswer:
    return ReadyAnswer(admin.ready())


async def openapi(admin: AdminInterface, request: Request) -> Response:
    from .openapi import document  # asked for once in a while, and large

    return Response(encoded(document(ROUTES, arrival_of(request.scope).prefix)), media_type=JSON)


async def activate(admin: AdminInterface, request: Request) -> CommandOutcome | CommandAccepted:
    return await admin.activate(await name(request, "version"), waits(request))


async def rollback(admin: AdminInterface, request: Request) -> CommandOutcome | CommandAccepted:
    return await admin.rollback(waits(request))


async def hold(admin: AdminInterface, request: Request) -> CommandOutcome:
    return await admin.hold(await name(request, "version"))


async def release(admin: AdminInterface, request: Request) -> CommandOutcome:
    return await admin.release(await name(request, "version"))


async def validate(admin: AdminInterface, request: Request) -> ValidateOutcome | CommandAccepted:
    """`again` may be there and changes nothing: a version is always judged once more."""
    given = await fields(request)
    flag(given, "again")
    return await admin.validate(text_of(given, "version"), waits(request))


async def restart(admin: AdminInterface, request: Request) -> CommandOutcome | CommandAccepted:
    return await admin.restart(await name(request, "worker", optional=True), waits(request))


async def reload(admin: AdminInterface, request: Request) -> ReloadOutcome:
    return await admin.reload()


async def panel_link(admin: AdminInterface, request: Request) -> PanelLinkAnswer:
    return await admin.panel_link()


async def sweep(admin: AdminInterface, request: Request) -> SweepAnswer:
    return await admin.sweep(flag(await fields(request), "dry_run"))


async def rotate(admin: AdminInterface, request: Request) -> RotateAnswer:
    given = await fields(request)
    file = given.get("file") or ""
    if not isinstance(file, str):
        raise HTTPException(400, "cannot do that: 'file' must be a text")
    return await admin.rotate(flag(given, "force"), flag(given, "dry_run"), file)


async def rescan(admin: AdminInterface, request: Request) -> CommandOutcome | CommandAccepted:
    return await admin.rescan(waits(request))


async def delete(admin: AdminInterface, request: Request) -> CommandOutcome:
    return await admin.delete(await name(request, "version"))


async def uploads(admin: AdminInterface, request: Request) -> UploadsAnswer:
    return await admin.uploads()


async def begin_upload(admin: AdminInterface, request: Request) -> UploadReport:
    given = await fields(request)
    try:
        files = convert(given.get("files", []), list[UploadFile])
    except UNREADABLE as e:
        raise HTTPException(400, f"cannot do that: 'files' must be a list of paths and bytes: {e}") from e
    return await admin.begin_upload(text_of(given, "version"), text_of(given, "kind"), files)


async def take_piece(admin: AdminInterface, request: Request) -> UploadPiece:
    """The body is a piece of a file, as it is."""
    file, offset = number(request, "file", 0, MAX_ROW), number(request, "offset", 0, MAX_ROW)
    return await admin.take_piece(request.path_params["upload"], file, offset, request.stream())


async def finish_upload(admin: AdminInterface, request: Request) -> CommandOutcome:
    await fields(request)
    return await admin.finish_upload(request.path_params["upload"])


async def drop_upload(admin: AdminInterface, request: Request) -> CommandOutcome:
    return await admin.drop_upload(request.path_params["upload"])


READ: Final = "read"
CHANGE: Final = "change"
ROUTES: Final[tuple[tuple[str, str, Handler, str], ...]] = (
    ("GET", "/health", health, READ),
    ("GET", "/ready", ready, READ),
    ("GET", "/v1/status", status, READ),
    ("GET", "/v1/versions", versions, READ),
    ("GET", "/v1/workers", workers, READ),
    ("GET", "/metrics", metrics, READ),
    ("GET", "/v1/alerts", alerts, READ),
    ("GET", "/v1/series", series, READ),
    ("GET", "/v1/traffic", traffic, READ),
    ("GET", "/v1/fleet", fleet, READ),
    ("GET", "/v1/disk", disk, READ),
    ("GET", "/v1/logs", logs, READ),
    ("GET", "/v1/logs/{name}", log, READ),
    ("GET", "/v1/logs/{name}/files", log_files, READ),
    ("GET", "/v1/logs/{name}/download", log_download, READ),
    ("GET", "/v1/history", history, READ),
    ("GET", "/v1/rollouts/{rollout}", rollout, READ),
    ("GET", "/v1/openapi.json", openapi, READ),
    ("GET", "/v1/uploads", uploads, READ),
    ("POST", "/v1/activate", activate, CHANGE),
    ("POST", "/v1/rollback", rollback, CHANGE),
    ("POST", "/v1/hold", hold, CHANGE),
    ("POST", "/v1/release", release, CHANGE),
    ("POST", "/v1/validate", validate, CHANGE),
    ("POST", "/v1/restart", restart, CHANGE),
    ("POST", "/v1/reload", reload, CHANGE),
    ("POST", "/v1/rescan", rescan, CHANGE),
    ("POST", "/v1/alerts/test", test_alerts, CHANGE),
    ("POST", "/v1/alerts/mute", mute_alerts, CHANGE),
    ("POST", "/v1/alerts/unmute", unmute_alerts, CHANGE),
    ("POST", "/v1/alerts/ack", acknowledge_alerts, CHANGE),
    ("POST", "/v1/panel/link", panel_link, CHANGE),
    ("POST", "/v1/delete", delete, CHANGE),
    ("POST", "/v1/uploads", begin_upload, CHANGE),
    ("PUT", "/v1/uploads/{upload}", take_piece, CHANGE),
    ("POST", "/v1/uploads/{upload}/finish", finish_upload, CHANGE),
    ("DELETE", "/v1/uploads/{upload}", drop_upload, CHANGE),
    ("POST", "/v1/sweep", sweep, CHANGE),
    ("POST", "/v1/rotate", rotate, CHANGE),
)


def application(admin: AdminInterface, hub: Hub) -> ASGIApp:
    """The ASGI application that answers by one AdminInterface.

    Put together from Starlette's parts: a whole `Starlette` brings pages for people who debug, 0.9 MB of a process that
    mostly rests. An exception that is not handled is logged and answered with 500 by uvicorn.
    """
    routes = [Route(path, _endpoint(admin, handler), methods=[method]) for method, path, handler, _ in ROUTES]
    routes.append(Route("/v1/events", hub.respond, methods=["GET"]))
    handled = ExceptionMiddleware(
        Router(routes), handlers={HTTPException: _http_error, ModelwardError: _refused, ClientDisconnect: _gone}
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = app  # there it is: 404 and 405 are raised, for `_http_error`, and not answered in plain text
        await handled(scope, receive, send)

    return app


def _endpoint(admin: AdminInterface, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        answer = await handler(admin, request)
        return await in_language(request.scope, answer if isinstance(answer, Response) else answered(answer))

    return endpoint


def answered(answer: Struct, status_code: int = 200) -> Response:
    """202 for a request that does not wait for the decision; 503 for a daemon that is not alive or not ready."""
    if isinstance(answer, CommandAccepted):
        status_code = 202
    elif answer in (HealthAnswer(False), ReadyAnswer(False)):
        status_code = 503
    return Response(encoded(answer), status_code, media_type=JSON)


def waits(request: Request) -> bool:
    return request.query_params.get("wait", "") not in ("", "0", "false")


def number(request: Request, key: str, usual: int, most: int) -> int:
    """A count from the query, at most `most`. Raises HTTPException 400."""
    text = request.query_params.get(key, str(usual))
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise HTTPException(400, f"cannot use {key}={text[:40]!r}: a number from 0 to {most}")
    return min(int(text), most)


def error(message: str, kind: str, status_code: int) -> Response:
    return answered(ErrorAnswer(ErrorReport(message, kind, kind)), status_code)


async def _http_error(request: Request, e: Exception) -> Response:
    assert isinstance(e, HTTPException)
    kinds = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    text = (
        e.detail if e.detail.startswith("cannot") else f"cannot {request.method} {request.url.path[:200]}: {e.detail}"
    )
    return await in_language(request.scope, error(text, kinds.get(e.status_code, "bad_request"), e.status_code))


async def _refused(request: Request, e: Exception) -> Response:
    if isinstance(e, NotKnown):
        return await in_language(request.scope, error(str(e), "not_found", 404))
    kind = "bad_config" if isinstance(e, BadConfig) else "refused"
    return await in_language(request.scope, error(str(e), kind, 409))


async def _gone(request: Request, e: Exception) -> Response:
    return Response(status_code=400)
