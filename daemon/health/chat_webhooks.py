"""DingTalk, Feishu (and Lark), WeCom and ServerChan: the request that each wants, and what its answer means.

Pure but for the clock that a signature needs. They answer HTTP 200 also when they refuse: the error code in the JSON
alone says whether the message arrived.
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
}
TITLE_CHARS: Final = 32
"""ServerChan refuses longer titles."""


class Request(NamedTuple):
    """An HTTP POST."""

    url: str
    body: bytes
    content_type: str = "application/json; charset=utf-8"


def request(url: str, way: Way, title: str, body: str, now: float) -> Request:
    """The POST for an address "dingtalk://[secret@]token[/mobile…]" or for the robot's own web address.

    `?api=https://host` sends it to a gateway of one's own. Raises ValueError for an address without a token. `now` is
    wall seconds: both signatures hold the time.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("http", "https"):
        target, secret, mobiles = url, "", []
    else:
        place, _, query = rest.partition("?")
        secret, _, place = place.rpartition("@")
        token, *mobiles = [unquote(part) for part in place.split("/") if part] or [""]
        if not token:
            raise ValueError("the address holds no token")
        target = _at(_HOME[scheme].format(token=quote(token, safe="")), parse_qs(query).get("api", [""])[0])
        secret = unquote(secret)
    content: dict[str, Any]
    whole = f"{title}\n{body}"
    if way == "serverchan":
        form = urlencode({"title": title[:TITLE_CHARS], "desp": body.replace("\n", "\n\n")}).encode()
        return Request(target, form, "application/x-www-form-urlencoded; charset=utf-8")
    if way == "feishu":
        content = {"msg_type": "text", "content": {"text": whole}}
        if secret:
            content |= {"timestamp": str(int(now)), "sign": _sign(f"{int(now)}\n{secret}".encode(), b"")}
    else:
        content = {"msgtype": "text", "text": {"content": whole}}
    if way == "dingtalk" and secret:
        stamp = str(int(now * 1000))
        sign = _sign(secret.encode(), f"{stamp}\n{secret}".encode())
        target += "&" + urlencode({"timestamp": stamp, "sign": sign})
    if way == "dingtalk" and mobiles:
        content["at"] = {"atMobiles": mobiles}
    return Request(target, json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


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


def refusal(answer: bytes) -> str:
    """Why the robot did not take the message, by its own code; "" when it did."""
    try:
        data = json.loads(answer)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return "it answered with something else than JSON; a proxy or a wrong address?"
    code = next((data[key] for key in ("errcode", "code", "StatusCode") if key in data), None)
    if code == 0 and not isinstance(code, bool):
        return ""
    said = next((data[key] for key in ("errmsg", "msg", "message", "StatusMessage") if data.get(key)), "")
    return f"it refused with code {str(code)[:20]}{f': {str(said)[:200]}' if said else ''}"
