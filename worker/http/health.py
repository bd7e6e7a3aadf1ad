"""`GET /health` and `GET /ready`: whether this process has a model that answers, and whether it takes requests.

They describe the version that serves. A candidate that fails changes neither.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .context import Service
from .json import as_json


async def health(request: Request) -> Response:
    """200 while the process runs and a model is loaded, else 503."""
    service: Service = request.app.state.service
    body = _state(service)
    return as_json(body, 200 if service.engine.current else 503, _retry(body["status"] == "no model"))


async def ready(request: Request) -> Response:
    """200 when a request would be answered: a model is loaded, the worker does not drain and does not refuse
    requests.
    """
    service: Service = request.app.state.service
    body = _state(service)
    if body["status"] == "ok" and (reason := service.counters.refusing()):
        body |= {"status": "refusing", "because": reason}
    good = body["status"] == "ok"
    return as_json({"ready": good, **body}, 200 if good else 503, _retry(not good))


def _state(service: Service) -> dict[str, Any]:
    current = service.engine.current
    status = "no model" if current is None else "draining" if service.leaving() else "ok"
    return {
        "status": status,
        "version": current.version if current else "",
        "digest": current.digest if current else "",
        "worker": service.settings.name,
    }


def _retry(wanted: bool) -> dict[str, str]:
    return {"retry-after": "1"} if wanted else {}
