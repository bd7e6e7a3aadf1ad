"""Checks for the keys of `[fleet]`, one value each. Pure; see `validators`."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from ..units import describe
from .validators import split_address, text_check

LABEL: Final = re.compile(r"[a-z0-9][a-z0-9._=-]{0,62}", re.ASCII)
LABEL_RIGHT: Final = 'small letters, digits and . _ = -, at most 63, like "canary" or "region=north"'
MACHINE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
NATS: Final = ("nats://", "tls://")
_MAX_URL_CHARS: Final = 1000
_RIGHT: Final = (
    '"nats://host:4222", "tls://host:4222", "https://host/fleet/record.json" or "file:///media/fleet/record.json"'
)


def is_nats(url: str) -> bool:
    """Whether a checked `fleet.url` leads to servers that take reports and wake their clients."""
    return url.startswith(NATS)


def _fleet_url(text: str) -> str:
    if not text:
        return ""
    if len(text) > _MAX_URL_CHARS:
        raise ValueError(f"is too long; at most {_MAX_URL_CHARS} characters")
    if is_nats(text):
        for server in text.split(","):
            scheme = next((s for s in NATS if server.startswith(s)), "")
            if not scheme or "@" in server:  # a password may stand there: it is not repeated
                raise ValueError(f"has a server that cannot be used; {_RIGHT}, and passwords in fleet.credentials")
            split_address(server.removeprefix(scheme).removesuffix("/"))
        return text
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{describe(text)} is no address of a record; {_RIGHT}") from None
    if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and not parts.query + parts.fragment:
        return text
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and ".." not in parts.path.split("/"):
        return text
    raise ValueError(f"is no address of a record; {_RIGHT}, without a password")


def _machine_name(text: str) -> str:
    if text and not MACHINE_NAME.fullmatch(text):
        raise ValueError(
            f'{describe(text)} is no name of a machine; letters, digits, _ and -, at most 63, like "shop-17"'
        )
    return text


def _fleet_label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise ValueError(f"{describe(text)} is no label; {LABEL_RIGHT}")
    return text


fleet_url = text_check(_fleet_url)
machine_name = text_check(_machine_name)
fleet_label = text_check(_fleet_label)
