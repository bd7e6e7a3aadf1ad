"""The hubs' addresses and the user's tokens, as the environment names them for the hubs' own libraries too. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import BadUsage
from .hugging_face import ENDPOINT as HUGGING_FACE
from .modelscope import ENDPOINT as MODELSCOPE
from .sources import Hub

_ENDPOINTS: dict[Hub, tuple[tuple[str, ...], str]] = {
    "hf": (("HF_ENDPOINT",), HUGGING_FACE),
    "ms": (("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"), MODELSCOPE),
}
_TOKENS: dict[Hub, tuple[str, ...]] = {
    "hf": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    "ms": ("MODELSCOPE_API_TOKEN",),
}


def endpoint_of(hub: Hub, environment: Mapping[str, str]) -> str:
    """The hub, or the mirror of it that is named; without a slash at its end."""
    keys, usual = _ENDPOINTS[hub]
    named = next((environment[key].strip() for key in keys if environment.get(key, "").strip()), usual)
    return (named if "://" in named else f"https://{named}").rstrip("/")


def token_of(hub: Hub, environment: Mapping[str, str]) -> str:
    """The token for private repositories; "" for none. Raises BadUsage for one that no header can hold."""
    key = next((key for key in _TOKENS[hub] if environment.get(key, "").strip()), "")
    token = environment.get(key, "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadUsage(f"cannot use {key}: a token is printable ASCII without spaces")
    return token
