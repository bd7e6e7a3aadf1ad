"""What can go wrong with a request, as answers: a status, a sentence for the client, a type and a code.

Decides nothing about when; only how it looks. Every error of the service has this one shape.
"""

from __future__ import annotations

import json
from typing import Final

from starlette.responses import Response

TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class ApiError(Exception):
    """Ends a request with an answer. `code` is for programs, the message for people."""

    def __init__(self, status: int, message: str, code: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("retry-after", "1")


def error_body(message: str, kind: str, code: str) -> bytes:
    """The JSON of an error."""
    return json.dumps({"error": {"message": message, "type": kind, "code": code}}, ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def error_response(error: ApiError) -> Response:
    """The answer for an error."""
    kind = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return Response(
        error_body(error.message, kind, error.code), error.status, error.headers, media_type="application/json"
    )
