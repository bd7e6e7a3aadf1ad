"""The errors of a request as answers: a status, a sentence for the client, a type and a code.

It decides only their form: `{"error": {"message", "type", "code"}}`. OpenAI's routes add the `param` that their clients
read; those of the Open Inference Protocol answer `{"error": text}`, as that protocol requires.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final

from starlette.responses import Response

from ..shared.catalogue import language_of_header, translated

TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class ApiError(Exception):
    """Ends a request with an answer. `code` is for programs, the message for people, `param` the wrong field."""

    def __init__(
        self, status: int, message: str, code: str, headers: dict[str, str] | None = None, *, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("retry-after", "1")


def too_slow(because: Exception | str) -> ApiError:
    """An upload that was ended before it was whole; the rest of it is not read."""
    return ApiError(408, str(because), "upload_too_slow", {"connection": "close"})


def error_body(message: str, kind: str, code: str, **more: str | None) -> bytes:
    """The JSON of an error."""
    return _json({"error": {"message": message, "type": kind, "code": code, **more}})


def error_of(error: ApiError, path: str) -> bytes:
    """The JSON of an error on the route `path`."""
    if path == "/v2" or path.startswith("/v2/"):
        return _json({"error": error.message})
    kind = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    more = {"param": error.param} if path.startswith("/v1/") else {}
    return error_body(error.message, kind, error.code, **more)


async def error_answer(error: ApiError, path: str, accept_language: str) -> Response:
    """The answer for an error on the route `path`, with the sentence in the language of the client."""
    error.message = await in_language(error.message, accept_language)
    return error_response(error, path)


async def in_language(message: str, accept_language: str) -> str:
    """A sentence in the language that a client's Accept-Language names. On a thread: the first reads the catalogue."""
    if language_of_header(accept_language) != "zh":
        return message
    return await asyncio.to_thread(translated, message, "zh")


def error_response(error: ApiError, path: str) -> Response:
    """The answer for an error on the route `path`, in English."""
    return Response(error_of(error, path), error.status, error.headers, media_type="application/json")


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
