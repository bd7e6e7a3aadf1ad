"""What the system's log gets of a line of ours: journald's fields, or a syslog message.

Pure. A line is one of our JSON lines; anything else is passed on as it is, at priority info. Invariant: a datagram
holds one message, and no field of a line can make another field of it.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

from ....worker.shared.log_lines import line_of
from ...config.validators import split_address

NAME: Final = "modelward"
_FACILITY: Final = 3  # system daemons
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_INFO: Final = 6
_FIELDS: Final = 64
_NOT_IN_TEXT: Final = ("time", "level", "worker", "event", "exception", "log")
_SYSLOG_BYTES: Final = 8 * 1024  # what the usual receivers take
_UNIX: Final = "syslog:unix:"
_UDP: Final = "syslog:udp://"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NO_FIELD: Final = re.compile(r"[^A-Z0-9_]", re.ASCII)


def receiver(target: str) -> str | tuple[str, int]:
    """The path of a socket, or host and port, of a `logs.forward` that is not empty."""
    if target == "journald":
        return "/run/systemd/journal/socket"
    if target.startswith(_UNIX):
        return target.removeprefix(_UNIX)
    return split_address(target.removeprefix(_UDP))


def datagram(target: str, log: str, line: bytes, *, host: str, pid: int) -> bytes:
    """One line of the log of that name (`modelward`, `access`) for this receiver."""
    fields = _fields(line)
    if target == "journald":
        return _journal(log, line, fields)
    if fields and len(line) > _SYSLOG_BYTES:
        line = line_of(fields, _SYSLOG_BYTES).rstrip(b"\n")
    line = line[:_SYSLOG_BYTES]  # one that is no JSON is cut
    priority = _FACILITY * 8 + _priority(fields)
    time = str(fields.get("time", ""))
    if target.startswith(_UNIX):  # as the C library writes to /dev/log: local time, no host
        return f"<{priority}>{_local(time)} {NAME}[{pid}]: ".encode() + line
    return f"<{priority}>1 {time if _local(time) else '-'} {_word(host)} {NAME} {pid} {log} - ".encode() + line


def _fields(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _priority(fields: dict[str, Any]) -> int:
    return _PRIORITIES.get(str(fields.get("level", "")), _INFO)


def _journal(log: str, line: bytes, fields: dict[str, Any]) -> bytes:
    rows = [("MESSAGE", _message(fields) if fields else line.decode("utf-8", "replace"))]
    rows += [("PRIORITY", str(_priority(fields))), ("SYSLOG_IDENTIFIER", NAME), ("MODELWARD_LOG", log)]
    for key, value in list(fields.items())[:_FIELDS]:
        rows.append(("MODELWARD_" + _NO_FIELD.sub("_", key.upper())[:50], _text(value)))
    return b"".join(_row(name, value.encode("utf-8", "backslashreplace")) for name, value in rows)


def _row(name: str, value: bytes) -> bytes:
    """A field: with its length where it has line breaks, so that no value ends early."""
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def _message(fields: dict[str, Any]) -> str:
    """The line for people: the event, the other fields, and the exception below."""
    parts = [str(fields["event"])] if fields.get("event") else []
    parts += [f"{key}={_text(value)}" for key, value in fields.items() if key not in _NOT_IN_TEXT]
    return "\n".join(filter(None, [" ".join(parts), str(fields.get("exception", ""))]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _local(time: str) -> str:
    """The time as syslog has it; "" for what is none."""
    if _TIME.fullmatch(time) is None:
        return ""
    try:
        moment = datetime.fromisoformat(time).astimezone()
    except (ValueError, OverflowError):
        return ""
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{months[moment.month - 1]} {moment.day:2} {moment:%H:%M:%S}"


def _word(text: str) -> str:
    return re.sub(r"[^!-~]", "", text)[:255] or "-"
