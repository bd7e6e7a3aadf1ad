"""Reads the small JSON object in the body of an admin request, and its values. It knows no route.

Invariant: at most MAX_BODY_BYTES are kept, and no text passes that cannot be written as UTF-8 or holds a NUL.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

MAX_BODY_BYTES: Final = 64 * 1024


async def fields(request: Request) -> dict[str, Any]:
    """The small JSON object in the body; none is an empty one. Raises HTTPException 4xx."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"cannot read the body: longer than {MAX_BODY_BYTES} bytes")
    try:
        data = json.loads(body or b"{}")
    except (ValueError, RecursionError) as e:
        raise HTTPException(400, "cannot read the body: no JSON") from e
    if not isinstance(data, dict):
        raise HTTPException(400, "cannot read the body: no JSON object")
    if not all(_is_text(value) for value in data.values() if isinstance(value, str)):
        raise HTTPException(400, "cannot read the body: it holds a text that is no Unicode")
    return data


def _is_text(value: str) -> bool:
    """False for half of a surrogate pair, which JSON can spell and UTF-8 cannot, and for what holds a NUL."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


async def name(request: Request, key: str, *, optional: bool = False) -> str:
    """The name under `key` in the body. Raises HTTPException 4xx."""
    return text_of(await fields(request), key, optional=optional)


def text_of(given: dict[str, Any], key: str, *, optional: bool = False) -> str:
    """The text under `key`. Raises HTTPException 400."""
    value = given.get(key, "")
    if not isinstance(value, str) or not (value or optional):
        raise HTTPException(400, f"cannot do that: the body must be a JSON object with a text {key!r}")
    return value


def flag(given: dict[str, Any], key: str) -> bool:
    """Yes or no under `key`; no when it is not there. Raises HTTPException 400, for a word is neither."""
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise HTTPException(400, f"cannot do that: {key!r} must be true or false")
    return value
