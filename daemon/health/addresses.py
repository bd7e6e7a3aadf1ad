"""What an alert address means: which way it is sent, how it is called in logs, how long a text it takes, how often.

Pure. Addresses hold passwords and tokens: only `label` may be shown or logged, and `scrub` takes every part of an
address out of a text that somebody else wrote.
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

Way = Literal["webhook", "mail", "dingtalk", "feishu", "wecom", "serverchan", "apprise"]

MAX_BYTES: Final = 18_000
PER_MINUTE: Final = 15
WAYS: Final[dict[str, Way]] = {
    "http": "webhook",
    "https": "webhook",
    "json": "webhook",
    "jsons": "webhook",
    "smtp": "mail",
    "smtps": "mail",
    "mailto": "mail",
    "mailtos": "mail",
    "dingtalk": "dingtalk",
    "feishu": "feishu",
    "lark": "feishu",
    "wecombot": "wecom",
    "schan": "serverchan",
}
ROBOT_HOSTS: Final[dict[str, Way]] = {
    "oapi.dingtalk.com": "dingtalk",
    "open.feishu.cn": "feishu",
    "open.larksuite.com": "feishu",
    "qyapi.weixin.qq.com": "wecom",
    "sctapi.ftqq.com": "serverchan",
}
LIMITS: Final[dict[Way, int]] = {"wecom": 2_000, "webhook": 6_000}
_SECRET_CHARS: Final = 4


class Address(Struct, frozen=True):
    """One receiver. `label` is safe to show; `text_bytes` is what its messages may be long, UTF-8 counted."""

    url: str
    label: str
    way: Way
    text_bytes: int = MAX_BYTES
    per_minute: int = PER_MINUTE

    def __repr__(self) -> str:
        return f"Address({self.label})"


def addresses(urls: tuple[str, ...]) -> tuple[Address, ...]:
    """Each address once, labelled by its kind and its place in the list."""
    return tuple(_address(url, number) for number, url in enumerate(dict.fromkeys(urls), start=1))


def _address(url: str, number: int) -> Address:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    way = WAYS.get(scheme, "apprise")
    if way == "webhook":
        way = ROBOT_HOSTS.get(host_of(rest), "webhook")
    name = f"{number}:{way if way != 'apprise' else scheme}"
    return Address(url, name, way, LIMITS.get(way, MAX_BYTES))


def host_of(rest: str) -> str:
    """The host in what follows "://", in small letters; "" when there is none."""
    try:
        return urlsplit("//" + rest).hostname or ""
    except ValueError:
        return ""


def scrub(text: str, url: str) -> str:
    """`text` without any part of `url` that may be a secret: as written and decoded; keys of its query are none."""
    _, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    values = [pair.partition("=")[2] or pair for pair in query.split("&")]
    parts = {url, rest, place, query, *re.split(r"[/:@#,+]", place), *values}
    parts |= {unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SECRET_CHARS:
            text = text.replace(part, "…")
    return text
