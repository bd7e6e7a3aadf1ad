"""`GET /`: a page to drop or record audio and read the text, from files of the package only.

A request names a key of a table that was read at the start, never a path. The page loads nothing from elsewhere, runs
no inline script, and no other page may frame it. Where tokens are needed, a browser without one gets a form for it
instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..shared import static_files
from ..shared.arrival import arrival_of
from ..shared.static_files import protection
from .auth import COOKIE
from .context import Service
from .sign_in import token_form
from .upload import read_small

FORM_BYTES: Final = 4096
FORM_SECONDS: Final = 10.0
STATIC: Final = Path(__file__).parent / "static"
_HEADERS: Final = protection(
    "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    microphone=True,
)


def routes() -> list[Route]:
    """A route for each file, and the one that takes the form's token. Raises OSError."""
    return [
        *(Route(path, _Sender(asset), methods=["GET"]) for path, asset in static_files.load(STATIC).items()),
        Route("/", sign_in, methods=["POST"]),
    ]


class _Sender:
    """Answers with one file, or with 304 when the browser has it."""

    def __init__(self, asset: static_files.Asset) -> None:
        self._asset = asset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = Headers(scope=scope).get("if-none-match", "")
        await static_files.answer(self._asset, known, _HEADERS)(scope, receive, send)


async def sign_in(request: Request) -> Response:
    """Puts the form's token into a cookie that only this page's own requests carry."""
    service: Service = request.app.state.service
    data = bytes(await read_small(request, max_bytes=FORM_BYTES, seconds=FORM_SECONDS))
    try:
        token = parse_qs(data.decode("ascii"), max_num_fields=4).get("token", [""])[0].strip()
    except (UnicodeDecodeError, ValueError):
        token = ""
    if not service.gate.knows(token):
        return await token_form(request.headers.get("accept-language", ""))
    answer = Response(status_code=303, headers={"location": "./", "cache-control": "no-store"})
    if cookie := service.gate.cookie_for(token):
        path = arrival_of(request.scope).cookie_path or None  # without one it is the directory that the browser sees
        answer.set_cookie(COOKIE, cookie, path=path, httponly=True, samesite="strict", secure=_behind_tls(request))
    return answer


def _behind_tls(request: Request) -> bool:
    """Whether the browser uses TLS: to a proxy, as this port does not. A browser that lies harms only itself."""
    return request.headers.get("origin", "").startswith("https:") or arrival_of(request.scope).tls
