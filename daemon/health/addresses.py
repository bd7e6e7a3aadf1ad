"""Reads an alert address: the kind of receiver, its label for logs, and the limits on its messages (bytes, per minute).

Pure. Addresses hold passwords and tokens. Therefore only `label` may be shown or logged, and `scrub` removes every part
of an address from text that another program wrote.
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from ..config.schema_alerts import Alerts

Way = Literal["webhook", "mail", "dingtalk", "feishu", "wecom", "serverchan", "slack", "telegram", "apprise"]
CHATS: Final = frozenset({"dingtalk", "feishu", "wecom", "serverchan", "slack", "telegram"})
BOTH: Final = frozenset({"critical", "warning"})

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
    "slack": "slack",
    "tgram": "telegram",
}
ROBOT_HOSTS: Final[dict[str, Way]] = {
    "oapi.dingtalk.com": "dingtalk",
    "open.feishu.cn": "feishu",
    "open.larksuite.com": "feishu",
    "qyapi.weixin.qq.com": "wecom",
    "sctapi.ftqq.com": "serverchan",
    "hooks.slack.com": "slack",
    "api.telegram.org": "telegram",
}
LIMITS: Final[dict[Way, int]] = {"wecom": 2_000, "webhook": 6_000, "telegram": 4_000}
_SECRET_CHARS: Final = 4


class WebhookForm(Struct, frozen=True):
    """A request body that the operator configured: a template for json, form or text, and the header Authorization."""

    kind: str
    body: str
    authorization: str = ""


class Address(Struct, frozen=True):
    """One receiver. `label` is safe to show; `text_bytes` is the most UTF-8 bytes that a message to it may have.

    It gets alerts of `severities`. With `main` it also gets the messages that have no severity.
    """

    url: str
    label: str
    way: Way
    text_bytes: int = MAX_BYTES
    per_minute: int = PER_MINUTE
    severities: frozenset[str] = BOTH
    main: bool = True
    form: WebhookForm | None = None

    @property
    def key(self) -> tuple[str, WebhookForm | None]:
        """What distinguishes two receivers: a gateway may be named several times, each with a body of its own."""
        return self.url, self.form

    def __repr__(self) -> str:
        return f"Address({self.label})"


def addresses(urls: tuple[str, ...]) -> tuple[Address, ...]:
    """Each address once; its label is its place in the list and its kind."""
    return tuple(_address(url, number) for number, url in enumerate(dict.fromkeys(urls), start=1))


def receivers(alerts: Alerts) -> tuple[Address, ...]:
    """Every receiver that the configuration names, each once, with the severities that it gets."""
    routes = {"critical": alerts.route.critical or alerts.to, "warning": alerts.route.warning or alerts.to}
    named = addresses((*alerts.to, *alerts.route.critical, *alerts.route.warning))
    found = [
        replace(
            address,
            severities=frozenset(severity for severity, urls in routes.items() if address.url in urls),
            main=address.url in alerts.to,
        )
        for address in named
    ]
    gateways: dict[tuple[str, WebhookForm], frozenset[str]] = {}
    for entry in alerts.webhook:
        key = entry.url, WebhookForm(entry.kind, entry.body, entry.authorization)
        gateways[key] = gateways.get(key, frozenset()) | (frozenset({entry.severity}) if entry.severity else BOTH)
    for number, ((url, form), severities) in enumerate(gateways.items(), start=len(found) + 1):
        label, room = f"{number}:webhook", LIMITS["webhook"]
        found.append(Address(url, label, "webhook", room, severities=severities, main=False, form=form))
    if not any(address.main for address in found):
        return tuple(replace(address, main=True) for address in found)
    return tuple(found)


def _address(url: str, number: int) -> Address:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    way = WAYS.get(scheme, "apprise")
    if way == "slack" and (rest.lower().startswith("xox") or "#" in rest):
        way = "apprise"  # a bot's token, or a channel by name: what a webhook of Slack cannot do
    if way == "webhook":
        way = ROBOT_HOSTS.get(host_of(rest), "webhook")
    name = f"{number}:{way if way != 'apprise' else scheme}"
    return Address(url, name, way, LIMITS.get(way, MAX_BYTES))


def host_of(rest: str) -> str:
    """The host in the text after "://", in small letters; "" when there is none."""
    try:
        return urlsplit("//" + rest).hostname or ""
    except ValueError:
        return ""


def scrub(text: str, url: str, *more: str) -> str:
    """`text` without any part of `url` that may be a secret, both as written and decoded. Names in its query are not
    secret.

    `more` are other secrets, such as a header; each word of them is secret.
    """
    _, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    values = [pair.partition("=")[2] or pair for pair in query.split("&")]
    parts = {url, rest, place, query, *re.split(r"[/:@#,+]", place), *values}
    parts |= {unquote(part) for part in (*parts, *more)}
    parts |= {word for text in more for word in text.split()}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SECRET_CHARS:
            text = text.replace(part, "…")
    return text
