"""The chat services that alerts go to, as they behave: what each takes, and what it answers when it does not.

Each is a function of a request for `fake_receiver`. They check what the real ones check: tokens, signatures that hold
the time, keywords, lengths, the shape of the body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.receivers import Posted, Reply

TOKEN, SECRET, KEYWORD = "T0kenABC", "SEC7et", "modelward"
SIGNED_WITHIN_SECONDS = 3600


def _answer(status: int = 200, /, **content: Any) -> Reply:
    return Reply(status, json.dumps(content, ensure_ascii=False).encode())


def _signature(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def dingtalk(post: Posted) -> Reply:
    """A robot with a signature and a keyword."""
    query = {key: values[0] for key, values in parse_qs(urlsplit(post.path).query).items()}
    if query.get("access_token") != TOKEN:
        return _answer(errcode=300001, errmsg="token is not exist")
    stamp = query.get("timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp) / 1000) > SIGNED_WITHIN_SECONDS:
        return _answer(errcode=310000, errmsg="invalid timestamp")
    if query.get("sign") != _signature(SECRET.encode(), f"{stamp}\n{SECRET}".encode()):
        return _answer(errcode=310000, errmsg="sign not match")
    if KEYWORD not in post.json["text"]["content"]:
        return _answer(errcode=310000, errmsg="keywords not in content")
    return _answer(errcode=0, errmsg="ok")


def feishu(post: Posted) -> Reply:
    """A robot with a signature and a keyword."""
    if urlsplit(post.path).path != f"/open-apis/bot/v2/hook/{TOKEN}":
        return _answer(400, code=19001, msg="param invalid: incoming webhook access token invalid")
    content = post.json
    stamp = str(content.get("timestamp", ""))
    signed = content.get("sign") == _signature(f"{stamp}\n{SECRET}".encode(), b"")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > SIGNED_WITHIN_SECONDS or not signed:
        return _answer(code=19021, msg="sign match fail or timestamp is not within one hour from current time")
    if KEYWORD not in content["content"]["text"]:
        return _answer(code=19024, msg="Key Words Not Found")
    return _answer(StatusCode=0, StatusMessage="success", code=0, data={}, msg="success")


def wecom(post: Posted) -> Reply:
    """A robot: 2048 bytes of text at most."""
    if parse_qs(urlsplit(post.path).query).get("key") != [TOKEN]:
        return _answer(errcode=93000, errmsg="invalid webhook url")
    if len(post.json["text"]["content"].encode()) > 2048:
        return _answer(errcode=40058, errmsg="text.content exceed max length 2048")
    return _answer(errcode=0, errmsg="ok")


def serverchan(post: Posted) -> Reply:
    """It answers 400 when it refuses."""
    if urlsplit(post.path).path != f"/{TOKEN}.send":
        return _answer(400, code=40001, message="[AUTH]错误的Key", info="错误的Key", args=[None])
    form = parse_qs(post.raw.decode())
    if len(form["title"][0]) > 32:
        return _answer(400, code=40001, message="bad title")
    return _answer(code=0, message="", data={"pushid": "1", "errno": 0})


def slack(post: Posted) -> Reply:
    """An incoming webhook: its answers are plain words."""
    if urlsplit(post.path).path != f"/services/T00/B00/{TOKEN}":
        return Reply(404, b"no_service")
    content = post.json
    if set(content) - {"text", "blocks", "attachments"}:
        return Reply(400, b"invalid_payload")
    return Reply(200, b"ok") if content.get("text") else Reply(400, b"no_text")


def telegram(post: Posted) -> Reply:
    """The method sendMessage of a bot."""
    if urlsplit(post.path).path != f"/bot123:{TOKEN}/sendMessage":
        return _answer(404, ok=False, error_code=404, description="Not Found")
    if post.json.get("chat_id") != "-100":
        return _answer(400, ok=False, error_code=400, description="Bad Request: chat not found")
    if len(post.json["text"]) > 4096:
        return _answer(400, ok=False, error_code=400, description="Bad Request: message is too long")
    return _answer(ok=True, result={"message_id": 1})


def sms_gateway(post: Posted) -> Reply:
    """A gateway for SMS that wants a form and a bearer token."""
    form = {key: values[0] for key, values in parse_qs(post.raw.decode()).items()}
    if post.headers.get("Authorization") != f"Bearer {TOKEN}":
        return _answer(401, code=20003, message="Authenticate")
    if post.headers.get("Content-Type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return _answer(415, code=415, message="Unsupported")
    return _answer(201, status="queued") if set(form) == {"To", "Body"} else _answer(400, code=21604, message="To")
