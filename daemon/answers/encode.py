"""The one way an answer becomes JSON. Pure. Invariant: a text that is no Unicode costs no answer."""

from __future__ import annotations

import json

from msgspec import to_builtins
from msgspec.json import encode


def encoded(answer: object) -> bytes:
    """UTF-8 on one line. A reason may quote a file name that is no UTF-8: then every such character is escaped."""
    try:
        return encode(answer)
    except UnicodeEncodeError:
        return json.dumps(to_builtins(answer)).encode()
