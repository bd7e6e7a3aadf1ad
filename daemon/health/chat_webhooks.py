"""DingTalk, Feishu (and Lark), WeCom, ServerChan, Slack and Telegram: the request that each wants, and its answer.

Pure but for the clock that a signature needs. Most answer HTTP 200 also when they refuse: the error code in the JSON
alone shows whether the message arrived. A robot's own web address is taken as its service gives it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from .addresses import Way

_HOME: Final[dict[str, str]] = {
    "dingtalk": "https://oapi.dingtalk.com/robot/send?access_token={token}",
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook/{token}",
    "lark": "https://open.larksuite.com/open-apis/bot/v2/hook/{token}",
    "wecombot": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={token}",
    "schan": "https://sctapi.ftqq.com/{token}.send",
    "slack": "https://hooks.slack.com/services/{token}",
    "tgram": "https://api.telegram.org/bot{token}/sendMessage",
}
_NEEDED: Final[dict[Way, str]] = {
    "dingtalk": "access_token=",
    "feishu": "/hook/",
    "wecom": "key=",
    "serverchan": ".send",
    "slack": "/services/",
    "telegram": "chat_id=",
}
"""What the web address of each robot holds besides its host."""
TITLE_CHARS: Final = 32
"""ServerChan refuses longer titles."""


class Request(NamedTuple):
    """An HTTP POST."""

    url: str
    body: bytes
    content_type: str = "application/json; charset=utf-8"


class Robot(NamedTuple):
    """A robot's address taken apart. `others` are mobiles to be named, or the chat."""

    target: str
    secret: str
    others: tuple[str, ...]


def request(url: str, way: Way, title: str, body: str, now: float, *, whole: str = "") -> Request:
    """The POST for "dingtalk://[secret@]token[/mobile…]" and its like, or for the robot's own web address.

    `?api=https://host` sends it to a gateway of one's own. Raises ValueError for an address without a token. `now` is
    wall seconds: both signatures hold the time. `whole` is the text, "" for title and body.
    """
    robot = _by_web_address(url, way) if url.lower().startswith("http") else _by_token(url)
    target, secret = robot.target, robot.secret
    markdown = (whole or body).replace("\n", "\n\n")
    whole = whole or f"{title}\n{body}"
    content: dict[str, Any]
    if way == "serverchan":
        form = urlencode({"title": title[:TITLE_CHARS], "desp": markdown}).encode()
        return Request(target, form, "application/x-www-form-urlencoded; charset=utf-8")
    if way == "feishu":
        content = {"msg_type": "text", "content": {"text": whole}}
        if secret:
            content |= {"timestamp": str(int(now)), "sign": _sign(f"{int(now)}\n{secret}".encode(), b"")}
    elif way == "slack":
        content = {"text": _slack(whole)}
    elif way == "telegram":
        content = {"chat_id": robot.others[0], "text": whole, "disable_web_page_preview": True}
    else:
        content = {"msgtype": "text", "text": {"content": whole}}
    if way == "dingtalk" and secret:
        stamp = str(int(now * 1000))
        sign = _sign(secret.encode(), f"{stamp}\n{secret}".encode())
        target += "&" + urlencode({"timestamp": stamp, "sign": sign})
    if way == "dingtalk" and robot.others:
        content["at"] = {"atMobiles": list(robot.others)}
    return Request(target, json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def _by_token(url: str) -> Robot:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    place, _, query = rest.partition("?")
    secret, _, place = place.rpartition("@")
    parts = [unquote(part) for part in place.split("/") if part]
    count = {"slack": 3}.get(scheme, 1)
    token, others = parts[:count], tuple(parts[count:])
    if len(token) < count:
        raise ValueError("the address holds no token" if count == 1 else f"the address holds fewer than {count} tokens")
    if scheme == "tgram" and len(others) != 1:
        raise ValueError("the address names no chat, or several; tgram://TOKEN/CHAT, one address for each chat")
    safe = ":" if scheme == "tgram" else ""
    home = _HOME[scheme].format(token="/".join(quote(part, safe=safe) for part in token))
    return Robot(_at(home, parse_qs(query).get("api", [""])[0]), unquote(secret), others)


def _by_web_address(url: str, way: Way) -> Robot:
    """As the service shows it, with `secret=` of a signed robot added by the operator."""
    parts = urlsplit(url)
    if _NEEDED[way] not in f"{parts.path}?{parts.query}":
        raise ValueError(f"the address is not whole: it holds no {_NEEDED[way]}")
    kept = [pair for pair in parts.query.split("&") if pair and not pair.startswith(("secret=", "chat_id="))]
    given = parse_qs(parts.query)
    return Robot(
        parts._replace(query="&".join(kept)).geturl(),
        given.get("secret", [""])[0],
        tuple(given.get("chat_id", [])) if way == "telegram" else (),
    )


def _slack(text: str) -> str:
    """Slack's own three escapes: a message must not notify a whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _sign(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def _at(target: str, api: str) -> str:
    """`target` at another scheme and host."""
    if not api:
        return target
    home, other = urlsplit(target), urlsplit(api)
    if other.scheme not in ("http", "https") or not other.netloc:
        raise ValueError("api= is no web address")
    query = f"?{home.query}" if home.query else ""
    return f"{other.scheme}://{other.netloc}{other.path.rstrip('/')}{home.path}{query}"


def refusal(way: Way, answer: bytes) -> str:
    """Why the robot did not take the message, by its own code; "" when it did."""
    if way == "slack":
        said = answer.decode("utf-8", "replace").strip()
        return "" if said == "ok" else f"it refused: {said[:200] or 'an empty answer'}"
    try:
        data = json.loads(answer)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return "it answered with something else than JSON; a proxy or a wrong address?"
    if way == "telegram":
        code = 0 if data.get("ok") is True else data.get("error_code")
    else:
        code = next((data[key] for key in ("errcode", "code", "StatusCode") if key in data), None)
    if code == 0 and not isinstance(code, bool):
        return ""
    keys = ("errmsg", "msg", "message", "StatusMessage", "description")
    said = next((data[key] for key in keys if data.get(key)), "")
    return f"it refused with code {str(code)[:20]}{f': {str(said)[:200]}' if said else ''}"
