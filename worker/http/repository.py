"""The Open Inference Protocol's model repository: versions as the daemon knows them; load is activate.

It decides only what a name means. A version's name is that version. A model's name is whatever the daemon chooses after
another check. It must not unload the served version: another version replaces it, or it stays.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..shared.unreadable import UNREADABLE
from .context import Service
from .daemon_api import DaemonApi, DaemonUnreachable, Reply
from .errors import ApiError
from .json import as_json
from .model_names import split_name
from .reload import rescan
from .upload import read_small

BODY_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 15.0
_WAITING: Final = {"seen": "not judged yet", "settling": "still being copied", "validating": "being judged"}


class _Verdict(msgspec.Struct):
    accepted: bool = False
    because: str = ""


class _Version(msgspec.Struct):
    version: str
    state: str
    verdict: _Verdict | None = None
    live: bool = False
    serving: list[str] = []


class _Versions(msgspec.Struct):
    versions: list[_Version]


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _RepositoryAnswer(msgspec.Struct):
    success: bool = False
    message: str = ""
    error: _Error = _Error()


async def index(request: Request) -> Response:
    """Every version with its state; only those that serve when the body is `{"ready": true}`."""
    asked = await _asked(request)
    service: Service = request.app.state.service
    current = service.engine.current
    try:
        versions = await _versions(request)
    except DaemonUnreachable:
        # No daemon: what this worker itself knows is still true.
        versions = [_Version(current.version, "accepted", live=True, serving=["this"])] if current else []
    entries = [_entry(version) for version in versions]
    return as_json([entry for entry in entries if entry["state"] == "READY" or asked.get("ready") is not True])


async def load(request: Request) -> Response:
    """Brings a version into service; 200 without a body once it serves."""
    asked = await _asked(request)
    if asked.get("parameters"):
        raise ApiError(400, "cannot load with parameters: a version comes with all it needs", "bad_request")
    name = request.path_params["model"]
    daemon: DaemonApi = request.app.state.daemon
    try:
        versions = await _versions(request)
        if any(version.version == name for version in versions):
            body = msgspec.json.encode({"version": name})
            _check(await daemon.request(request, "POST", "/v1/activate?wait=1", body), f"load {name}")
        elif any(split_name(version.version)[0] == name for version in versions):
            await _choose(request, name)
        else:
            raise _unknown(name, versions)
    except DaemonUnreachable as e:
        raise ApiError(503, f"cannot load {name}: {e}", "no_daemon") from e
    return Response(status_code=200)


async def unload(request: Request) -> Response:
    """200 when the version is not served; refused when it is."""
    await _asked(request)
    service: Service = request.app.state.service
    name = request.path_params["model"]
    current = service.engine.current
    try:
        versions = await _versions(request)
    except DaemonUnreachable as e:
        raise ApiError(503, f"cannot unload {name}: {e}", "no_daemon") from e
    named = [v for v in versions if name in (v.version, split_name(v.version)[0])]
    if not named:
        raise _unknown(name, versions)
    for version in named:
        if version.serving or version.live or (current is not None and current.version == version.version):
            raise ApiError(
                409,
                f"cannot unload {name}: {version.version} serves; load another version, which replaces it",
                "in_service",
            )
    return Response(status_code=200)


async def _asked(request: Request) -> dict[str, Any]:
    """The body's JSON object; an empty body is an empty one. Raises ApiError 400, 403."""
    service: Service = request.app.state.service
    host = request.client.host if request.client else ""
    service.gate.check_change(host, request.headers, request.scope["http_version"])
    data = await read_small(request, max_bytes=BODY_BYTES, seconds=BODY_SECONDS)
    try:
        asked = msgspec.json.decode(data or b"{}", type=dict[str, Any])
    except UNREADABLE as e:
        raise ApiError(400, f"cannot read the request: its JSON is wrong: {e}", "bad_request") from e
    parameters = asked.get("parameters")
    if isinstance(parameters, dict):
        parameters.pop("unload_dependents", None)  # there are none
    return asked


async def _versions(request: Request) -> list[_Version]:
    daemon: DaemonApi = request.app.state.daemon
    reply = await daemon.request(request, "GET", "/v1/versions", seconds=LOOK_SECONDS)
    try:
        return msgspec.json.decode(reply.body, type=_Versions).versions
    except UNREADABLE as e:
        raise DaemonUnreachable(f"its answer can't be read ({e})") from e


async def _choose(request: Request, model: str) -> None:
    """The daemon checks again and chooses. Raises ApiError unless a version of `model` serves then."""
    decision = await rescan(request, request.app.state.daemon)
    if not decision.success:
        raise ApiError(400, decision.message or f"cannot load {model}", "refused")
    serving = [v.version for v in await _versions(request) if v.serving]
    if not any(split_name(version)[0] == model for version in serving):
        now = ", ".join(serving) or "nothing"
        raise ApiError(400, f"cannot load {model}: {now} is served, and no version of it was chosen", "refused")


def _check(reply: Reply, what: str) -> None:
    try:
        answer = msgspec.json.decode(reply.body, type=_RepositoryAnswer)
    except UNREADABLE as e:
        raise DaemonUnreachable(f"its answer can't be read ({e})") from e
    if reply.status >= 400 or not answer.success:
        status = reply.status if 400 <= reply.status < 500 else 400
        raise ApiError(status, answer.error.message or answer.message or f"cannot {what}", "refused")


def _entry(version: _Version) -> dict[str, str]:
    if version.serving:
        state, reason = "READY", ""
    elif version.live:
        state, reason = "LOADING", "live, not served yet"
    elif version.state in _WAITING:
        state, reason = "UNAVAILABLE", _WAITING[version.state]
    elif version.verdict is not None and not version.verdict.accepted:
        state, reason = "UNAVAILABLE", version.verdict.because
    else:
        state, reason = "UNAVAILABLE", "accepted, not live"
    model = split_name(version.version)[0] or version.version
    return {"name": model, "version": version.version, "state": state, "reason": reason}


def _unknown(name: str, versions: list[_Version]) -> ApiError:
    known = ", ".join(version.version for version in versions[:20]) or "none"
    return ApiError(
        404, f"cannot find {name[:100]!r}: there is no such model or version; versions: {known}", "not_found"
    )
