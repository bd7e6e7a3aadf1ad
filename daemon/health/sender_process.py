"""Sends one message to one receiver and ends: `python -m modelward.daemon.health.sender_process`.

One JSON job on standard input, one JSON outcome on standard output. A process of its own, so that a receiver that
hangs, a library with a hundred plug-ins and whatever they leave behind never touch the daemon. The address comes by
standard input alone; nothing of it goes out again.
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

from ..system.clock import SystemClock
from . import chat_webhooks, smtp
from .addresses import Way, scrub
from .http_post import NotDelivered, post, within

MAX_JOB_BYTES: Final = 64 * 1024
MAX_BECAUSE: Final = 300


def main() -> int:
    """0 also for a message that did not arrive: the outcome says so."""
    job = json.loads(sys.stdin.buffer.read(MAX_JOB_BYTES))
    url = str(job["url"])
    because, retry_after = "", 0.0
    logging.disable()  # what a plug-in prints or logs may hold the address
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            with within(float(job["seconds"])):
                deliver(url, job["way"], job["text"], float(job["seconds"]))
        except NotDelivered as e:
            because, retry_after = str(e), e.retry_after
        except Exception as e:  # noqa: BLE001 - the top of a child; texts of others may hold the address
            because = f"sending failed: {type(e).__name__}"
    outcome = {"delivered": not because, "because": scrub(because, url)[:MAX_BECAUSE], "retry_after": retry_after}
    print(json.dumps(outcome), flush=True)
    return 0


def deliver(url: str, way: Way, text: dict[str, Any], seconds: float) -> None:
    """Sends `text` (title, body, kind, data). Raises Failed when it did not arrive."""
    wall = SystemClock().wall()
    title, body = str(text["title"]), str(text["body"])
    if way == "webhook":
        _webhook(url, text, wall)
    elif way == "mail":
        scheme = url.partition("://")[0].lower()
        if scheme.startswith("mailto") and _has_apprise():
            _apprise(url, text)  # it knows the servers of the big providers by their domain
        else:
            smtp.send(url, title, body, wall=wall, seconds=seconds)
    elif way == "apprise":
        _apprise(url, text)
    else:
        _robot(url, way, title, body, wall)


def _webhook(url: str, text: dict[str, Any], wall: float) -> None:
    """JSON with the keys of Apprise's own webhook (title, message, type), `text` for chat tools, and the alerts."""
    scheme, _, rest = url.partition("://")
    secure = scheme.lower() in ("https", "jsons")
    body = {"title": text["title"], "message": text["body"], "type": text["kind"], "text": _both(text), **text["data"]}
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    who, at, _ = netloc.rpartition("@")
    headers = {"Authorization": "Basic " + base64.b64encode(unquote(who).encode()).decode()} if at else {}
    target = f"{'https' if secure else 'http'}://{rest.removeprefix(who + at)}"
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    answer = post(target, content, "application/json; charset=utf-8", wall=wall, headers=headers)
    if answer.body.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise NotDelivered("it answered with a web page; a proxy or a wrong address?")


def _both(text: dict[str, Any]) -> str:
    return f"{text['title']}\n{text['body']}"


def _robot(url: str, way: Way, title: str, body: str, wall: float) -> None:
    try:
        request = chat_webhooks.request(url, way, title, body, wall)
    except ValueError as e:
        raise NotDelivered(str(e)) from None
    answer = post(request.url, request.body, request.content_type, wall=wall)
    if because := chat_webhooks.refusal(answer.body):
        raise NotDelivered(because)


def _has_apprise() -> bool:
    return importlib.util.find_spec("apprise") is not None


def _apprise(url: str, text: dict[str, Any]) -> None:
    """Everything else that Apprise can reach; its own answer is taken as it is."""
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
