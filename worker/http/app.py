"""The worker's table of routes.

Every answer passes the edge (identity, tokens, access log); every error has one shape. A new surface is a file beside
this one and a line in the table.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..service import Service
from .edge import CLIENT_GONE, Edge, Gone
from .errors import ApiError, error_response
from .health import health, ready
from .metrics import metrics
from .predict import predict
from .reload import Reload


def build_app(service: Service) -> ASGIApp:
    """The application of one worker."""
    reload = Reload()

    async def reload_model(request: Request) -> Response:
        return await reload(request)

    app = Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/ready", ready, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            Route("/api/predict", predict, methods=["POST"]),
            Route("/api/reload-model", reload_model, methods=["POST"]),
        ],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Gone: _gone},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return Edge(app, service)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # for the access log; nobody reads it


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {
        404: (f"cannot answer: there is no {request.url.path[:200]}", "no_such_route"),
        405: (f"cannot answer: {request.method} is not for this route", "wrong_method"),
    }
    message, code = known.get(error.status_code, (str(error.detail), "bad_request"))
    return error_response(ApiError(error.status_code, message, code, dict(error.headers or {})))
