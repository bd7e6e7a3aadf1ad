"""The description of the admin API: an OpenAPI document made from the table of routes and the results
of the handlers.

Pure. ABOUT has what these do not show of a route: its body, its query, one line about it. A route without an entry is
described by its path alone. Invariant: the schema of an answer is that of the structure that is encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, get_args, get_type_hints

from msgspec import Struct, field
from msgspec.json import schema_components

from ...worker.shared.sent_tokens import API_KEY
from ..answers.alerts import SPANS
from ..answers.commands import CommandAccepted, ErrorAnswer
from ..answers.uploads import KINDS, MAX_FILES

Json = dict[str, Any]
Row = tuple[str, str, Callable[..., Any], str]
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
_REF: Final = "#/components/schemas/{name}"
_TEXT: Final[Json] = {"type": "string", "maxLength": 255}
_FLAG: Final[Json] = {"type": "boolean", "default": False}
_NUMBER: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 1_000_000}
_UPLOAD_FILES: Final[Json] = {
    "type": "array",
    "maxItems": MAX_FILES,
    "items": {
        "type": "object",
        "required": ["bytes", "path"],
        "properties": {"path": {"type": "string"}, "bytes": {"type": "integer", "minimum": 0}},
    },
}
_PLACE: Final = re.compile(r"\{(\w+)(?::\w+)?\}")


class About(Struct, frozen=True):
    """`needed` and `optional` are the members of a body of JSON; `query` the parameters besides `wait`."""

    summary: str
    needed: Mapping[str, Json] = field(default_factory=dict)
    optional: Mapping[str, Json] = field(default_factory=dict)
    query: Mapping[str, Json] = field(default_factory=dict)
    waits: bool = False
    media_type: str = JSON
    sends: str = JSON


_VERSION: Final = {"version": _TEXT | {"minLength": 1, "description": "a directory directly under the model root"}}
_ALERT: Final = {"name": _TEXT | {"minLength": 1, "description": "an alert as GET /v1/alerts names it, or all"}}
_DURATION: Final = {"duration": {"type": ["string", "number"], "description": "like 4h, or seconds; at most 30d"}}
_WHY: Final = {"why": _TEXT}
ABOUT: Final[Mapping[tuple[str, str], About]] = {
    ("GET", "/health"): About("Whether the daemon lives"),
    ("GET", "/ready"): About("Whether some worker takes traffic"),
    ("GET", "/metrics"): About("Figures of the daemon and of every worker, for Prometheus", media_type="text/plain"),
    ("GET", "/v1/status"): About("The whole at a glance"),
    ("GET", "/v1/versions"): About("Every version with its state and verdict"),
    ("GET", "/v1/workers"): About("Every worker with what it serves"),
    ("GET", "/v1/alerts"): About("Every alert that is not simply ok, and how the channels do"),
    ("GET", "/v1/series"): About(
        "A few figures over the last hour, day or week", query={"span": {"type": "string", "enum": list(SPANS)}}
    ),
    ("GET", "/v1/traffic"): About("Requests, errors and durations of each version"),
    ("GET", "/v1/fleet"): About("What this machine has to do with a fleet, and how far the fleet's record has come"),
    ("GET", "/v1/disk"): About("Where the space went", query={"progress": _NUMBER}),
    ("GET", "/v1/logs"): About("The log files there are"),
    ("GET", "/v1/logs/{name}"): About("The last lines of a log", query={"lines": _NUMBER}),
    ("GET", "/v1/logs/{name}/files"): About("What a download of a log has"),
    ("GET", "/v1/logs/{name}/download"): About(
        "All lines of a log, those of its archives first; one download at a time", media_type="text/plain"
    ),
    ("GET", "/v1/history"): About(
        "What happened, newest first", query={"n": _NUMBER, "kind": _TEXT, "before": _NUMBER}
    ),
    ("GET", "/v1/rollouts/{rollout}"): About("One rollout, step by step"),
    ("GET", "/v1/openapi.json"): About("This description"),
    ("POST", "/v1/activate"): About("Make a version live", needed=_VERSION, waits=True),
    ("POST", "/v1/rollback"): About("Back to the version that served before", waits=True),
    ("POST", "/v1/hold"): About("Keep a version from being chosen automatically", needed=_VERSION),
    ("POST", "/v1/release"): About("Let a held version be chosen again", needed=_VERSION),
    ("POST", "/v1/validate"): About(
        "Judge a version again: a rejection is forgotten", needed=_VERSION, optional={"again": _FLAG}, waits=True
    ),
    ("POST", "/v1/restart"): About("Replace one worker, or all", optional={"worker": _TEXT}, waits=True),
    ("POST", "/v1/reload"): About("Read the configuration again"),
    ("POST", "/v1/rescan"): About("Look at the model root again", waits=True),
    ("POST", "/v1/sweep"): About("Run disk upkeep", optional={"dry_run": _FLAG}, waits=True),
    ("POST", "/v1/rotate"): About(
        "Rotate logs", optional={"dry_run": _FLAG, "force": _FLAG, "file": _TEXT}, waits=True
    ),
    ("POST", "/v1/delete"): About("Delete a version that is not live, held, serving or the way back", needed=_VERSION),
    ("GET", "/v1/uploads"): About("Uploads of versions that are not finished"),
    ("POST", "/v1/uploads"): About(
        "Announce a version that comes piece by piece",
        needed=_VERSION | {"kind": {"type": "string", "enum": list(KINDS)}, "files": _UPLOAD_FILES},
    ),
    ("PUT", "/v1/uploads/{upload}"): About(
        "Send a piece of a file, beginning where the file ends", query={"file": _NUMBER, "offset": _NUMBER}, sends=BYTES
    ),
    ("POST", "/v1/uploads/{upload}/finish"): About("Put the version into the model root, where it is judged"),
    ("DELETE", "/v1/uploads/{upload}"): About("Drop an upload"),
    ("POST", "/v1/panel/link"): About("Make a link that logs one browser in to the panel, once; over api.sock alone"),
    ("POST", "/v1/alerts/test"): About("Send a test message to every channel"),
    ("POST", "/v1/alerts/mute"): About(
        "Send nothing about an alert, or about all, for a time", needed=_ALERT | _DURATION, optional=_WHY
    ),
    ("POST", "/v1/alerts/unmute"): About("End one mute, or all", optional={"name": _TEXT}),
    ("POST", "/v1/alerts/ack"): About(
        "Somebody looks after an alert: it is not sent again until it has ended", needed=_ALERT, optional=_WHY
    ),
}


def document(routes: Iterable[Row], prefix: str = "") -> Json:
    """The OpenAPI 3.1 document of these routes, which clients reach below `prefix`."""
    rows = list(routes)
    kinds = {ErrorAnswer, *(kind for row in rows for kind in answers_of(row[2]))}
    _, schemas = schema_components(kinds, ref_template=_REF)
    paths: dict[str, Json] = {}
    for method, path, handler, access in rows:
        place = paths.setdefault(_PLACE.sub(r"{\1}", path), {})
        place[method.lower()] = _operation(method, path, handler, access)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modelward admin API",
            "version": "1",
            "description": (
                "Behind api.sock no token is asked for; over TCP one is, and a change carries X-Modelward. "
                "Sentences are Chinese where a request has ?language=zh or prefers it by Accept-Language."
            ),
        },
        **({"servers": [{"url": prefix}]} if prefix else {}),
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": API_KEY},
            },
        },
        "security": [{}, {"token": []}, {"key": []}],
    }


def answers_of(handler: Callable[..., Any]) -> tuple[type[Struct], ...]:
    """The structures that a handler may answer with; none for one that makes its response itself."""
    returned = get_type_hints(handler)["return"]
    return tuple(kind for kind in get_args(returned) or (returned,) if issubclass(kind, Struct))


def _operation(method: str, path: str, handler: Callable[..., Any], access: str) -> Json:
    about = ABOUT.get((method, path), About(path))
    kinds = answers_of(handler)
    decided = [kind for kind in kinds if kind is not CommandAccepted]
    plain: Json = {"type": "object"} if about.media_type == JSON else {"type": "string"}
    bad = _response("refused", _schema([ErrorAnswer]))
    good = _response("the answer", _schema(decided) if decided else plain, about.media_type)
    responses = {"200": good, "4XX": bad, "503": bad}
    if CommandAccepted in kinds:
        responses["202"] = _response("accepted, and not decided yet", _schema([CommandAccepted]))
    if method == "GET" and path in ("/health", "/ready"):
        responses["503"] = _response("it is not", _schema([*decided, ErrorAnswer]))
    operation: Json = {
        "operationId": f"{method.lower()}_{handler.__name__}",
        "summary": about.summary,
        "x-access": access,
        "parameters": _parameters(path, about),
        "responses": responses,
    }
    if method in ("POST", "PUT"):
        operation["requestBody"] = _body(about)
    return operation


def _schema(kinds: Sequence[type[Struct]]) -> Json:
    found = [{"$ref": _REF.format(name=kind.__name__)} for kind in kinds]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _response(description: str, schema: Json, media_type: str = JSON) -> Json:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _parameters(path: str, about: About) -> list[Json]:
    places: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT | {"minLength": 1}}
        for name in _PLACE.findall(path)
    ]
    queries = dict(about.query)
    if about.waits:
        queries["wait"] = {"type": "integer", "enum": [0, 1], "description": "1: answer when it is decided"}
    return places + [{"name": name, "in": "query", "schema": schema} for name, schema in queries.items()]


def _body(about: About) -> Json:
    if about.sends != JSON:
        return {"required": False, "content": {about.sends: {"schema": {"type": "string", "format": "binary"}}}}
    schema: Json = {"type": "object", "properties": {**about.needed, **about.optional}}
    if about.needed:
        schema["required"] = sorted(about.needed)
    return {"required": bool(about.needed), "content": {JSON: {"schema": schema}}}
