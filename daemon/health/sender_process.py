"""Sends one message to one receiver and ends: `python -m modelward.daemon.health.sender_process`.

It reads one JSON job on standard input and writes one JSON outcome on standard output. It is a separate process, so
that a receiver that hangs, or a library with its plug-ins, cannot affect the daemon. The address comes on standard
input only, and no part of it is written.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from ..system.clock import SystemClock
from . import chat_webhooks, smtp
from .addresses import Way, scrub
from .http_post import NotDelivered, post, within

MAX_JOB_BYTES: Final = 64 * 1024
MAX_BECAUSE: Final = 300
CONTENT_TYPES: Final = {
    "json": "application/json; charset=utf-8",
    "form": "application/x-www-form-urlencoded; charset=utf-8",
    "text": "text/plain; charset=utf-8",
}


class Job(Struct, frozen=True):
    """What to send, and where. `kind` and `authorization` are for a body that the operator configured,
    `text["raw"]`.
    """

    url: str
    way: Way
    text: dict[str, Any]
    seconds: float
    ca_file: str = ""
    kind: str = "json"
    authorization: str = ""


def main() -> int:
    """Returns 0 also for a message that did not arrive: the outcome has the reason."""
    job = msgspec.json.decode(sys.stdin.buffer.read(MAX_JOB_BYTES), type=Job)
    because, retry_after = "", 0.0
    logging.disable()  # what a plug-in prints or logs may hold the address
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            with within(job.seconds):
                deliver(job)
        except NotDelivered as e:
            because, retry_after = str(e), e.retry_after
        except Exception as e:  # noqa: BLE001 - the top of a child; texts of others may hold the address
            because = f"sending failed: {type(e).__name__}"
    because = scrub(because, job.url, job.authorization)[:MAX_BECAUSE]
    print(json.dumps({"delivered": not because, "because": because, "retry_after": retry_after}), flush=True)
    return 0


def deliver(job: Job) -> None:
    """Sends the text (title, body, kind, data, chat, raw). Raises NotDelivered when it did not arrive."""
    wall = SystemClock().wall()
    if job.way == "webhook":
        _webhook(job, wall)
    elif job.way == "mail":
        title, body = str(job.text["title"]), str(job.text["body"])
        smtp.send(job.url, title, body, wall=wall, seconds=job.seconds, ca_file=job.ca_file)
    elif job.way == "apprise":
        _apprise(job.url, job.text)
    else:
        _robot(job, wall)


def _webhook(job: Job, wall: float) -> None:
    """The operator's own body; else JSON with the keys of Apprise's own webhook (title, message, type), `text` for chat
    tools, and the alerts."""
    scheme, _, rest = job.url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    who, at, _ = netloc.rpartition("@")
    headers = {"Authorization": "Basic " + base64.b64encode(unquote(who).encode()).decode()} if at else {}
    if job.authorization:
        headers["Authorization"] = job.authorization
    secure = scheme.lower() in ("https", "jsons")
    target = f"{'https' if secure else 'http'}://{rest.removeprefix(who + at)}"
    content, kind = _content(job)
    answer = post(target, content, kind, wall=wall, headers=headers, ca_file=job.ca_file)
    if answer.body.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise NotDelivered("it answered with a web page; a proxy or a wrong address?")


def _content(job: Job) -> tuple[bytes, str]:
    """The body and its type."""
    text = job.text
    if raw := str(text.get("raw", "")):
        return raw.encode("utf-8", "replace"), CONTENT_TYPES[job.kind]
    both = f"{text['title']}\n{text['body']}"
    body = {"title": text["title"], "message": text["body"], "type": text["kind"], "text": both, **text["data"]}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), CONTENT_TYPES["json"]


def _robot(job: Job, wall: float) -> None:
    title, body = str(job.text["title"]), str(job.text["body"])
    try:
        request = chat_webhooks.request(job.url, job.way, title, body, wall, whole=str(job.text.get("chat", "")))
    except ValueError as e:
        raise NotDelivered(str(e)) from None
    try:
        answer = post(request.url, request.body, request.content_type, wall=wall, ca_file=job.ca_file)
    except NotDelivered as e:
        reason = chat_webhooks.refusal(job.way, e.answer) if e.answer else ""
        raise NotDelivered(f"{e}: {reason}" if reason else str(e), e.retry_after) from None
    if because := chat_webhooks.refusal(job.way, answer.body):
        raise NotDelivered(because)


def _has_apprise() -> bool:
    return importlib.util.find_spec("apprise") is not None


def _apprise(url: str, text: dict[str, Any]) -> None:
    """All other addresses, by Apprise; its result is used without a check."""
    if not _has_apprise():
        raise NotDelivered("this kind of address needs the extra: pip install 'modelward[alerts]'")
    import apprise

    kinds = {
        "failure": apprise.NotifyType.FAILURE,
        "success": apprise.NotifyType.SUCCESS,
        "info": apprise.NotifyType.INFO,
    }
    sender = apprise.Apprise(asset=apprise.AppriseAsset(app_id="modelward", app_desc="modelward"))
    if not sender.add(url):
        raise NotDelivered("Apprise does not know this kind of address, or a part of it is missing")
    if not sender.notify(body=text["body"], title=text["title"], notify_type=kinds[text["kind"]]):
        raise NotDelivered("Apprise says that it did not arrive")


if __name__ == "__main__":
    sys.exit(main())
