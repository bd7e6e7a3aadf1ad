"""The form for a browser without a token, where tokens are needed, and the security headers of every page.

The form uses no other file, because files need a token too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Final

from starlette.responses import Response

from ..shared.catalogue import chinese_of, language_of_header
from ..shared.static_files import HTML, protection
from .errors import ApiError

_STYLE: Final = (
    ":root{color-scheme:light dark;font-family:system-ui,sans-serif}"
    "body{min-height:90vh;display:grid;place-content:center;gap:1rem;text-align:center;padding:1rem}"
    "form{display:flex;flex-wrap:wrap;gap:.6rem;justify-content:center;align-items:center}"
    "input,button{font:inherit;padding:.6rem .9rem;border-radius:10px;border:1px solid #767d83}"
    "button{background:#0f6b62;color:#fff;border-color:#0f6b62;cursor:pointer}"
    ":focus-visible{outline:3px solid #2a9d8f;outline-offset:2px}"
)
_SIGN_IN: Final = (
    '<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><style>{style}</style></head><body><main>'
    '<h1>{title}</h1><form method="post"><label for="token">{token}</label>'
    '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
    "<button>{enter}</button></form></main></body></html>"
)
_WORDS: Final = {"title": "This service asks for a token", "token": "Token", "enter": "Continue"}


def wants_form(method: str, path: str, accept: str, error: ApiError) -> bool:
    """Whether a refused request came from a person who opened the page and can enter a token."""
    return error.status == 401 and path == "/" and method == "GET" and "text/html" in accept


async def token_form(accept_language: str) -> Response:
    """401 with the form, in the browser's language."""
    words, lang = _WORDS, "en"
    if language_of_header(accept_language) == "zh":  # on a thread: the first reads the catalogue
        words, lang = await asyncio.to_thread(chinese_of, _WORDS), "zh-CN"
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {**protection(policy), "cache-control": "no-store", "www-authenticate": "Bearer"}
    return Response(_SIGN_IN.format(style=_STYLE, lang=lang, **words), 401, headers, HTML)
