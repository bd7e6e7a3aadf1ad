"""JSON answers: UTF-8, no escapes for readable text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response


def as_json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as a JSON answer. Structs are written as objects."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
