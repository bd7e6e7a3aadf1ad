"""An answer of the admin API in the language that its client requests. Programs that request none get English.

`?language=zh` counts before `Accept-Language`. Only the fields that hold sentences are translated, on a thread, as the
first translation reads the catalogue. Invariant: names, states and figures are the same in every language.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from ...worker.shared.catalogue import Language, language_of_header, translated_fields
from ..answers.encode import encoded

JSON: Final = "application/json"
NOT_FOR_PEOPLE: Final = frozenset({"/v1/openapi.json", "/v1/series"})


def language_of(scope: Scope) -> Language:
    """The language that a request names."""
    if b"language=" in (query := scope.get("query_string", b"")):
        with suppress(ValueError):  # more fields than any request of ours has
            named = parse_qs(query.decode("latin-1"), max_num_fields=20).get("language", [""])[-1]
            return "zh" if named.lower().startswith("zh") else "en"
    return language_of_header(Headers(scope=scope).get("accept-language", ""))


async def in_language(scope: Scope, answer: Response) -> Response:
    """The answer, with its sentences in the language of the request."""
    if language_of(scope) != "zh" or answer.media_type != JSON or scope["path"] in NOT_FOR_PEOPLE:
        return answer
    answer.body = await asyncio.to_thread(translated_json, bytes(answer.body))
    answer.headers["content-length"] = str(len(answer.body))
    answer.headers["content-language"] = "zh-CN"
    return answer


def translated_json(body: bytes) -> bytes:
    """JSON with its sentences in Chinese. For a thread."""
    return encoded(translated_fields(json.loads(body), "zh"))  # it takes half a surrogate, which `encoded` writes


async def translated_event(event: bytes) -> bytes:
    """A server-sent event with the sentences of its data in Chinese."""
    head, mark, data = event.partition(b"data: ")
    if not mark or data.strip() == b"{}":
        return event
    return head + mark + await asyncio.to_thread(translated_json, data.strip()) + b"\n\n"
