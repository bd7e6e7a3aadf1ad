"""`GET /openapi.json`: describes the service's own routes. It is made from the table of routes, so they cannot differ.

It decides nothing. ABOUT holds what the table does not know of a route, by its path, or by method and path if methods
differ. Invariant: every route of the table is in it, except the files of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, compile_path

from ..jobs.listing import MOST_LISTED
from ..shared.arrival import arrival_of
from ..shared.sent_tokens import API_KEY
from .json import as_json
from .openai_fields import FORMATS, GRANULARITIES

Json = dict[str, Any]
_TEXT: Final[Json] = {"type": "string"}
_FILE: Final[Json] = {"type": "string", "format": "binary"}
_ITN: Final[Json] = {"type": "boolean", "description": "figures and punctuation as they are written"}
_LANGUAGE: Final[Json] = {"type": "string", "description": "zh, en, yue, ja, ko or auto; names and tags are understood"}


class RouteAbout(NamedTuple):
    """One route: a line about it, the members of its form and of its query, and what it answers with."""

    summary: str
    form: Mapping[str, Json] = {}
    needed: tuple[str, ...] = ()
    media_type: str = "application/json"
    query: Mapping[str, Json] = {}


ABOUT: Final[Mapping[str, RouteAbout]] = {
    "/health": RouteAbout("200 while a model is loaded"),
    "/ready": RouteAbout("200 while requests should come here"),
    "/metrics": RouteAbout("Figures of this worker, for Prometheus", media_type="text/plain"),
    "/openapi.json": RouteAbout("This description"),
    "/api/predict": RouteAbout(
        "The text of a clip; the clip may also be the whole body",
        {"audio": _FILE, "language": _LANGUAGE, "itn": _ITN | {"default": False}},
        ("audio",),
    ),
    "/api/reload-model": RouteAbout("Have the daemon search for versions"),
    "/v1/audio/transcriptions": RouteAbout(
        "OpenAI's: the text of a clip",
        {
            "file": _FILE,
            "model": _TEXT,
            "language": _LANGUAGE,
            "response_format": {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]},
            "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": list(GRANULARITIES)}},
            "stream": {"type": "boolean", "default": False},
            "prompt": _TEXT | {"description": "accepted, without effect"},
            "temperature": {"type": "number", "description": "accepted, without effect"},
            "itn": _ITN | {"default": True},
        },
        ("file",),
    ),
    "/v1/jobs": RouteAbout(
        "A long recording as a job: the form of /v1/audio/transcriptions; 202 once it is safe on the disk",
        {"file": _FILE, "callback": _TEXT | {"description": "an address that gets a report at the end"}},
        ("file",),
    ),
    "GET /v1/jobs": RouteAbout(
        "The jobs that came with this token, the newest first; 403 where no token is asked for",
        query={"limit": {"type": "integer", "minimum": 1, "maximum": MOST_LISTED}, "after": _TEXT},
    ),
    "/v1/jobs/{job}": RouteAbout("A job: its state, its progress, its result; DELETE cancels or removes it"),
    "/v1/jobs/{job}/result": RouteAbout("A job's result alone"),
    "/v1/audio/translations": RouteAbout("OpenAI's: not possible here; 404 gives the reason"),
    "/v1/models": RouteAbout("OpenAI's: the version that answers"),
    "/v1/models/{model:path}": RouteAbout("OpenAI's: one model by any of its names"),
}


async def openapi(request: Request) -> Response:
    """The document."""
    return as_json(document(request.app.routes, arrival_of(request.scope).prefix))


def document(routes: Iterable[BaseRoute], prefix: str = "") -> Json:
    """The OpenAPI 3.1 document of these routes, which clients reach below `prefix`."""
    paths: dict[str, Json] = {}
    for route in routes:
        if not isinstance(route, Route) or (_is_page(route.path) and route.path not in ABOUT):
            continue
        _, path, places = compile_path(route.path)
        place = paths.setdefault(path, {})
        for method in sorted((route.methods or set()) - {"HEAD"}):
            place[method.lower()] = _operation(method, route.path, path, sorted(places))
    return {
        "openapi": "3.1.0",
        "info": {"title": "modelward speech service", "version": "1"},
        **({"servers": [{"url": prefix}]} if prefix else {}),
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": API_KEY},
            },
        },
        "security": [{}, {"token": []}, {"key": []}],
    }


def _is_page(path: str) -> bool:
    return path == "/" or ("." in path and "{" not in path)


_ERROR: Final[Json] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "description": "an object; under /v2 a text, as that protocol has it",
            "type": ["object", "string"],
            "properties": {key: {"type": ["string", "null"]} for key in ("message", "type", "code", "param")},
        }
    },
}


def _operation(method: str, route: str, path: str, places: list[str]) -> Json:
    about = ABOUT.get(f"{method} {route}") or ABOUT.get(route, RouteAbout(f"Open Inference Protocol: {path}"))
    schema: Json = {} if about.media_type == "application/json" else _TEXT
    bad = {
        "description": "refused",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    operation: Json = {
        "operationId": f"{method.lower()}_{path.strip('/').replace('/', '_').translate(_NO_BRACES) or 'page'}",
        "summary": about.summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _TEXT} for name in places),
            *({"name": name, "in": "query", "schema": schema} for name, schema in about.query.items()),
        ],
        "responses": {
            "200": {"description": "the answer", "content": {about.media_type: {"schema": schema}}},
            "4XX": bad,
            "503": bad,
        },
    }
    if about.form:
        body = {"type": "object", "properties": dict(about.form), "required": list(about.needed)}
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": body}}}
    return operation


_NO_BRACES: Final = str.maketrans("", "", "{}")
