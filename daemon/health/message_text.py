"""The words of a message: a title, a body of at most so many bytes, and the same for programs.

Pure. What does not fit is counted ("… and N more"), never cut in the middle of a line or a character.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from ...worker.shared.catalogue import Language, translated, word
from ..config.alert_metrics import TOO_LITTLE
from ..units import show_duration
from .alerts import Alert, AlertState
from .notification_planner import Item, Notification

MAX_LINE_CHARS: Final = 500
TITLE_CHARS: Final = 120
JSON_BYTES: Final = 6_000
TEST: Final = "a test message; if you read this, alerts arrive here"
_WHAT: Final = {
    "disk_used_percent": "{value:.0f} % of the disk under {subject} is used, at most {threshold:g} %",
    "disk_full_hours": "the disk under {subject} will be full in {value:.1f} h",
    "inode_used_percent": "{value:.0f} % of the inodes under {subject} are used, at most {threshold:g} %",
    "memory_used_percent": "{value:.0f} % of the memory is used, at most {threshold:g} %",
    "cpu_used_percent": "the processors are {value:.0f} % busy, at most {threshold:g} %",
    "mount_stuck": "the mount {subject} does not answer",
    "oom_kills": "{value:.0f} processes killed by the kernel for lack of memory in ten minutes",
    "workers_ready": "{value:.0f} workers answer requests, at least {threshold:g} should",
    "workers_missing": "{value:.0f} workers are missing",
    "worker_refusing": "the worker {subject} would not answer a request",
    "worker_stuck": "workers had jobs that do not end {value:.0f} times in ten minutes",
    "probe_failed": "a clip sent to the service did not come back as its text",
    "worker_restarts": "workers ended {value:.0f} times in ten minutes, at most {threshold:g}",
    "version_rejected": "{subject} was rejected",
    "version_unjudged": "{subject} cannot be judged",
    "version_unchosen": "{subject} was accepted and not chosen by itself",
    "misplaced_link": "the link {subject} is misplaced",
    "rollout_failed": "the rollout of {subject} failed",
    "needs_operator": "cannot go on by itself",
    "root_absent": "the model root is absent",
    "watch_lost": "the model root is not watched, looking by the timer alone",
    "sweep_shortfall": "the disk is not in order",
    "jobs_used_percent": "{value:.0f} % of the room for transcription jobs is used, at most {threshold:g} %",
    "jobs_still_seconds": "no transcription job made progress for {value:.0f} s, at most {threshold:g} s",
    "config_refused": "the configuration was refused",
    "state_in_memory": "the state is kept in memory alone",
    "controller_failed": "the daemon's part {subject} failed and is tried again",
    "tokens_unusable": "nobody can log in to the panel",
    "alert_channel_failures": "alerts do not arrive at {subject}",
    "fleet_away": "the fleet's server is not reached",
    "fleet_blocked": "this machine cannot follow the fleet's record",
    "fleet_halted": "the rollout over the fleet is halted",
    "heartbeat_failures": "{value:.0f} heartbeats in a row did not arrive",
}


class Text(Struct, frozen=True):
    """What a channel is handed. `kind`: failure, success or info.

    `chat` is what a robot gets in place of title and body, `raw` a whole body for a webhook; "" for neither.
    """

    title: str
    body: str
    kind: str
    data: dict[str, Any]
    chat: str = ""
    raw: str = ""


def sentence(alert: Alert) -> str:
    """What is the matter, in one line; of an alert that ended what it was, and how it ended."""
    return over(_matter(alert), alert.ended) if alert.state is AlertState.RESOLVED else _matter(alert)


def over(matter: str, ended: str) -> str:
    """What is sent of an alert that ended."""
    return f"{matter} (over: {line(ended)})" if ended else matter


def _matter(alert: Alert) -> str:
    rule, because = alert.rule, line(alert.because)
    if alert.state is AlertState.NO_DATA:
        about = f" of {alert.subject}" if alert.subject else ""
        return f"nothing is known about {rule.metric}{about}{f': {because}' if because else ''}"
    if alert.value is None:
        about = f" of {alert.subject}" if alert.subject else ""
        return f"{rule.metric}{about} was alarming before the daemon began anew"
    whole = ("needs_operator", "config_refused", "misplaced_link", "version_unchosen")
    if rule.metric in whole and because:
        return because  # a whole sentence by itself
    usual = rule.over != (rule.metric in TOO_LITTLE)
    other = f"{{metric}} of {{subject}} is {{value:g}}, at {'most' if rule.over else 'least'} {{threshold:g}}"
    pattern = _WHAT.get(rule.metric, other) if usual else other
    subject = line(alert.subject) or "this machine"
    said = pattern.format(metric=rule.metric, subject=subject, value=alert.value, threshold=rule.threshold)
    return f"{said}: {because}" if because else said


def line(text: str) -> str:
    """One line of printable characters."""
    clean = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return clean if len(clean) <= MAX_LINE_CHARS else clean[: MAX_LINE_CHARS - 1] + "…"


def text(
    message: Notification, host: str, now: float, max_bytes: int, channel: str = "", language: Language = "en"
) -> Text | None:
    """A message as `channel` gets it, in a language; None when nothing in it is for that channel."""
    firing = [item for item in message.firing if item.not_to != channel or not channel]
    if not firing and not message.resolved and not message.missed:
        return None
    lines = [_firing(message.group, item, now, language) for item in firing]
    lines += [f"OK {translated(line(sentence), language)}" for _, sentence in message.resolved]
    lines += [f"HELD BACK {translated(line(sentence), language)}" for sentence in message.missed]
    counts = [f"{len(firing)} {word('firing', language)}"] if firing else []
    counts += [f"{len(message.resolved)} {word('over', language)}"] if message.resolved else []
    counts += [f"{len(message.missed)} {word('held back and over', language)}"] if message.missed else []
    title = f"[{message.group}] {host}: {', '.join(counts)}"
    body = fit(lines, max_bytes - len(title.encode()) - 1, language)
    kind = "failure" if firing else "success"
    alerts = [
        _told(i.text, language, fingerprint=i.fingerprint, state="firing", seconds=round(now - i.since)) for i in firing
    ]
    alerts += [_told(s, language, fingerprint=f, state="resolved") for f, s in message.resolved]
    alerts += [_told(s, language, fingerprint="", state="held back") for s in message.missed]
    data = {
        "version": "1",
        "host": host,
        "severity": message.group,
        "status": "firing" if firing else "resolved",
        "total": len(alerts),
        "alerts": _first(alerts),
    }
    return Text(title[:TITLE_CHARS], body, kind, data)


def _told(text: str, language: Language, **more: Any) -> dict[str, Any]:
    return {**more, "message": translated(line(text), language)}


def _firing(group: str, item: Item, now: float, language: Language) -> str:
    acknowledged = ", acknowledged" if item.acknowledged else ""
    said = f"{line(item.text)} (for {_span(now - item.since)}{acknowledged})"
    return f"{_mark(group)} {translated(said, language)}"


def test_text(host: str, language: Language = "en") -> Text:
    """What `alerts test` sends."""
    data = {"version": "1", "host": host, "severity": "info", "status": "test", "total": 0, "alerts": []}
    return Text(f"[test] {host}", translated(TEST, language), "info", data)


def _first(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many as JSON_BYTES hold; `total` beside them is how many there are."""
    kept, used = [], 0
    for alert in alerts:
        used += len(json.dumps(alert, ensure_ascii=False).encode("utf-8", "replace"))
        if used > JSON_BYTES:
            break
        kept.append(alert)
    return kept


def fit(lines: Sequence[str], max_bytes: int, language: Language = "en") -> str:
    """As many whole lines as fit into `max_bytes` with the count of the rest behind them."""
    whole = "\n".join(lines)
    if len(whole.encode()) <= max_bytes:
        return whole
    kept: list[str] = []
    used = 0
    for number, line in enumerate(lines):
        more = translated(f"… and {len(lines) - number} more", language)
        room = max_bytes - used - len(more.encode())
        size = len(line.encode()) + 1
        last = number == len(lines) - 1
        if size > room - (0 if last else 8):  # the count behind may be longer by a digit or two
            kept.append(more)
            break
        kept.append(line)
        used += size
    return "\n".join(kept)


def _mark(group: str) -> str:
    return group.upper()


def _span(seconds: float) -> str:
    return show_duration(float(max(0, round(seconds)))) if seconds >= 1 else "an instant"
