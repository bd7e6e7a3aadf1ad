"""Lets pages of other origins that the operator named call the service from a browser (`workers.cors_origins`).

Starlette's middleware handles the protocol. This module decides which origins are allowed. It runs before the check of
tokens: a browser's preflight request has no token, and the page may read why a request was refused. It must not allow
credentials: cookies of this service are for its own page, other pages send the token in a header. Invariant: without
the key nothing is added.
"""

from __future__ import annotations

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .context import Service

METHODS: Final = ("GET", "HEAD", "POST", "DELETE")
EXPOSED: Final = ("X-Model-Version", "X-Model-Digest", "X-Request-Id", "Retry-After", "Location")
REMEMBERED_SECONDS: Final = 600


class CrossOrigin:
    """The application `app` for pages of the origins in the settings, which may change at any time."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._origins: tuple[str, ...] = ()
        self._shared: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        origins = self._service.settings.cors_origins
        if origins != self._origins:
            self._origins, self._shared = origins, _shared(self._app, origins) if origins else self._app
        await self._shared(scope, receive, send)


def _shared(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=("*",),
        allow_private_network=True,  # pages elsewhere, service on this network: the operator asked for this
        expose_headers=EXPOSED,
        max_age=REMEMBERED_SECONDS,
    )
