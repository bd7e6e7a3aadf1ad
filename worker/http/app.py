"""The worker's table of routes.

Every answer passes the middleware (identity, tokens, access log); `errors` gives the form of errors. A new group of
routes is a file beside this one and its lines in the table.
"""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..inference.engine import NoModel
from . import inference_protocol as v2
from . import job_list, jobs, openai, page, repository
from .context import Service
from .daemon_api import DaemonApi
from .errors import ApiError, error_answer
from .health import health, ready
from .metrics import metrics
from .middleware import CLIENT_GONE, Gone, ServiceMiddleware
from .openapi import openapi
from .predict import predict
from .reload import reload_model
from .speech_sessions import SpeechSessions

_MODEL: Final = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
ROUTES: Final = (
    *page.routes(),
    Route("/health", health, methods=["GET"]),
    Route("/ready", ready, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
    Route("/openapi.json", openapi, methods=["GET"]),
    Route("/api/predict", predict, methods=["POST"]),
    Route("/api/reload-model", reload_model, methods=["POST"]),
    Route("/v1/audio/transcriptions", openai.Transcriptions(), methods=["POST"]),
    Route("/v1/audio/translations", openai.translations, methods=["POST"]),
    Route("/v1/jobs", jobs.create, methods=["POST"]),
    Route("/v1/jobs", job_list.list_own, methods=["GET"]),
    Route("/v1/jobs/{job}", jobs.show, methods=["GET"]),
    Route("/v1/jobs/{job}", jobs.cancel, methods=["DELETE"]),
    Route("/v1/jobs/{job}/result", jobs.result, methods=["GET"]),
    Route("/v1/models", openai.models, methods=["GET"]),
    Route("/v1/models/{model:path}", openai.model, methods=["GET"]),
    Route("/v2", v2.server, methods=["GET"]),
    Route("/v2/health/live", v2.live, methods=["GET"]),
    Route("/v2/health/ready", v2.ready, methods=["GET"]),
    Route("/v2/models/stats", v2.stats, methods=["GET"]),
    *(Route(path, v2.metadata, methods=["GET"]) for path in _MODEL),
    *(Route(path + "/ready", v2.model_ready, methods=["GET"]) for path in _MODEL),
    *(Route(path + "/config", v2.config, methods=["GET"]) for path in _MODEL),
    *(Route(path + "/stats", v2.stats, methods=["GET"]) for path in _MODEL),
    *(Route(path + "/infer", v2.infer, methods=["POST"]) for path in _MODEL),
    Route("/v2/repository/index", repository.index, methods=["POST"]),
    Route("/v2/repository/models/{model}/load", repository.load, methods=["POST"]),
    Route("/v2/repository/models/{model}/unload", repository.unload, methods=["POST"]),
)


def build_app(service: Service) -> ASGIApp:
    """The application of one worker."""
    app = Starlette(
        routes=list(ROUTES),
        exception_handlers={ApiError: _api_error, NoModel: _no_model, HTTPException: _http_error, Gone: _gone},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.daemon = DaemonApi(service.settings.api_socket, service.work.running)
    requests, sessions = ServiceMiddleware(app, service), SpeechSessions(service, app)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await (sessions if scope["type"] == "websocket" else requests)(scope, receive, send)

    return serve


async def _answer(error: ApiError, request: Request) -> Response:
    return await error_answer(error, request.url.path, request.headers.get("accept-language", ""))


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return await _answer(error, request)


async def _no_model(request: Request, error: Exception) -> Response:
    return await _answer(ApiError(503, str(error), "no_model"), request)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # for the access log; no client reads it


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {
        404: (f"cannot answer: there is no {request.url.path[:200]}", "no_such_route"),
        405: (f"cannot answer: {request.method} is not for this route", "wrong_method"),
    }
    message, code = known.get(error.status_code, (str(error.detail), "bad_request"))
    return await _answer(ApiError(error.status_code, message, code, dict(error.headers or {})), request)
