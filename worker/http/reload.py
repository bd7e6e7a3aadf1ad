"""`POST /api/reload-model`: asks the daemon to check the model root again and answers with its decision.

It decides nothing. Without a daemon there is no answer, and the served version stays.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..shared.unreadable import UNREADABLE
from .context import Service
from .daemon_api import DaemonApi, DaemonUnreachable
from .json import as_json


class Decision(msgspec.Struct):
    """The daemon's answer."""

    success: bool
    message: str = ""


async def reload_model(request: Request) -> Response:
    """200 with the daemon's decision, good or bad; 503 when no daemon could be reached."""
    service: Service = request.app.state.service
    daemon: DaemonApi = request.app.state.daemon
    client = request.client.host if request.client else ""
    service.gate.check_change(client, request.headers, request.scope["http_version"])
    try:
        return as_json(await rescan(request, daemon))
    except DaemonUnreachable as e:
        serving = service.engine.current.version if service.engine.current else "nothing"
        message = f"cannot ask the daemon to check: {e}; still serving {serving}"
        return as_json(Decision(False, message), 503, {"retry-after": "1"})


async def rescan(request: Request, daemon: DaemonApi) -> Decision:
    """The daemon's decision after another check. Raises DaemonUnreachable, ApiError 503, Gone."""
    reply = await daemon.request(request, "POST", "/v1/rescan?wait=1")
    try:
        return msgspec.json.decode(reply.body, type=Decision)
    except UNREADABLE as e:
        raise DaemonUnreachable(f"its answer can't be read ({e})") from e
