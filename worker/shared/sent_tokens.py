"""Decides which tokens a request carries: in `Authorization: Bearer`, in `X-API-Key`, or in both.

Pure. One of the two may be for a proxy in front. So a request is allowed when one of its tokens is good, or when it has
a good session. Credentials of another kind, like Basic, are always for a proxy: they are no token, and not a wrong one
either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

API_KEY: Final = "x-api-key"


def tokens_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a program sent as its token; names of headers are in lower case."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    sent = [token.strip()] if scheme.lower() == "bearer" else []
    if API_KEY in headers:
        sent.append(headers[API_KEY].strip())
    return tuple(sent)
