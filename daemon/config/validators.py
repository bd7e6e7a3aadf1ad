"""Checks for one configuration value each, with messages for the operator.

Pure. Each returns the value in our own unit or raises ValueError with "what is wrong; what would be right". It reads
only the text. Whether a path exists or an address is free is found when it is used.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
import zoneinfo
from collections.abc import Callable, Iterable
from pathlib import Path
from string import Template
from typing import Final

from ...worker.shared.callback_rules import check_entry
from ...worker.shared.loopback import is_this_machine
from ..units import (
    MAX_BYTES,
    YEAR,
    DiskShare,
    describe,
    parse_duration,
    parse_share,
    parse_size,
    show_duration,
    show_size,
)
from . import cron as cron_times
from .alert_metrics import FIGURES
from .schema_base import Check

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_CLASS_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_PROVIDER: Final = re.compile(r"[A-Za-z0-9]{1,64}ExecutionProvider", re.ASCII)
_MODEL_ALIAS: Final = re.compile(r"[^\s/]\S{0,63}")
_WEB_ORIGIN: Final = re.compile(
    r"\*|[a-z][a-z0-9+.-]{0,31}://(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(:\d{1,5})?", re.ASCII
)
_TIME_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)
_WEEKDAY: Final = re.compile(r"mon|tue|wed|thu|fri|sat|sun")
MAX_SHORT_CHARS: Final = 200
MAX_HEADER_CHARS: Final = 4096
MAX_KEYWORD_CHARS: Final = 32
MAX_TEMPLATE_CHARS: Final = 4096
TEMPLATE_FIELDS: Final = ("title", "body", "severity", "status", "host", "count", "keyword")
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s/?#]{1,500}([/?]\S{0,4000})?", re.ASCII | re.IGNORECASE)
_ALERT_URL: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}://\S{1,4096}", re.ASCII | re.IGNORECASE)


def duration(at_least: float = 0.0, at_most: float = 10 * YEAR) -> Check:
    """Seconds within a range."""

    def check(value: object) -> float:
        seconds = parse_duration(value)
        if not at_least <= seconds <= at_most:
            raise ValueError(
                f"{describe(value)} is out of range; {show_duration(at_least)} to {show_duration(at_most)}"
            )
        return seconds

    return Check(check)


def size(at_least: int = 0, *, zero: bool = False, at_most: int = MAX_BYTES) -> Check:
    """Bytes of at least `at_least`; with `zero` also 0, which means no limit."""

    def check(value: object) -> int:
        size_bytes = parse_size(value)
        if not (at_least <= size_bytes <= at_most or (zero and size_bytes == 0)):
            most = f" and at most {show_size(at_most)}" if at_most < MAX_BYTES else ""
            none = ", or 0 for no limit" if zero else ""
            raise ValueError(f"{describe(value)} is out of range; at least {show_size(at_least)}{most}{none}")
        return size_bytes

    return Check(check)


def whole(at_least: int, at_most: int) -> Check:
    """A whole number within a range."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{describe(value)} is no whole number; {at_least} to {at_most}")
        if not at_least <= value <= at_most:
            raise ValueError(f"{describe(value)} is out of range; {at_least} to {at_most}")
        return value

    return Check(check)


def number(at_least: float = -math.inf, at_most: float = math.inf, *, above: float = -math.inf) -> Check:
    """A finite number within a range; `above` excludes its own value."""
    low = f"more than {above:g}" if above > -math.inf else f"at least {at_least:g}" if at_least > -math.inf else ""
    high = f"at most {at_most:g}" if at_most < math.inf else ""
    right = " and ".join(part for part in (low, high) if part) or "finite"

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{describe(value)} is no number; {right}")
        if isinstance(value, int) and value.bit_length() > 64:
            raise ValueError(f"{describe(value)} is out of range; {right}")
        if not math.isfinite(value) or not at_least <= value <= at_most or not value > above:
            raise ValueError(f"{describe(value)} is out of range; {right}")
        return float(value)

    return Check(check)


def text_check(check: Callable[[str], object]) -> Check:
    """Gives `check` a text without NUL or line breaks; anything else is refused."""

    def run(value: object) -> object:
        value = str(value) if isinstance(value, Path) else value
        if not isinstance(value, str):
            raise ValueError(f"{describe(value)} is no text; put it in quotes")
        if not value.isprintable():
            raise ValueError("the text holds a character that cannot be printed; leave it out")
        return check(value)

    return Check(run)


def _absolute(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError(f"{describe(text)} is not absolute; a path that begins with /")
    if ".." in Path(text).parts:
        raise ValueError(f"{describe(text)} goes through ..; write the path out")
    return Path(text)


def _absolute_or_none(text: str) -> str:
    return str(_absolute(text)) if text else ""


def _log_receiver(text: str) -> str:
    if text in ("", "journald"):
        return text
    if text.startswith("syslog:unix:"):
        _absolute(text.removeprefix("syslog:unix:"))
    elif text.startswith("syslog:udp://"):
        split_address(text.removeprefix("syslog:udp://"))
    else:
        right = '"journald", "syslog:unix:/dev/log" or "syslog:udp://log.example.org:514"'
        raise ValueError(f"{describe(text)} is no receiver of logs; {right}")
    return text


def _log_directory(text: str) -> Path | None:
    return _absolute(text) if text not in ("", "-") else None


def _token_file(text: str) -> str:
    return text if text == "none" else _absolute_or_none(text)


def _glob(text: str) -> str:
    if "**" in text:
        raise ValueError(f"{describe(text)} searches whole trees; * matches within one directory")
    return str(_absolute(text))


def _plain_name(text: str) -> str:
    if not text or "/" in text or text in {".", ".."} or len(text.encode(errors="replace")) > 255:
        raise ValueError(f'{describe(text)} is no plain name; one name without /, like "current"')
    return text


def split_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:7860" or "[::1]:7860"; port 0 lets the system choose. Raises ValueError."""
    right = '"host:port", like "127.0.0.1:7860", "0.0.0.0:7860" or "[::1]:7860"'
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{describe(text)} is no address; {right}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"{describe(text)} has no port from 0 to 65535; {right}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as e:
            raise ValueError(f"{describe(text)} holds no IPv6 address in its brackets; {right}") from e
    elif not _HOST.fullmatch(host) or _looks_like_bad_ipv4(host):
        raise ValueError(f"{describe(text)} has no usable host; {right}")
    return host, int(port)


def _looks_like_bad_ipv4(host: str) -> bool:
    if not all(part.isdigit() for part in host.split(".")):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


def is_loopback(address: str) -> bool:
    """Whether "host:port" can be reached from this machine alone."""
    return is_this_machine(split_address(address)[0])


def _address(text: str) -> str:
    split_address(text)
    return text


def _address_or_none(text: str) -> str:
    return _address(text) if text else ""


def _minisign_key(text: str) -> str:
    """A minisign public key: base64 of "Ed", 8 bytes of key id and 32 bytes of Ed25519 key."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 42 or raw[:2] != b"Ed":
        raise ValueError(f"{describe(text)} is no minisign public key; the 56 characters that begin with RW")
    return text


def _matching(pattern: re.Pattern[str], right: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{describe(text)} cannot be used; {right}")
        return text

    return check


def nearest(text: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The choice that is most like `text`; "" when none is like it. `cutoff`: 1 means the same text."""
    from difflib import get_close_matches  # wanted only for what is wrong, and the daemon keeps what it loads

    return next(iter(get_close_matches(text, list(choices), 1, cutoff)), "")


def _figure(text: str) -> str:
    if text not in FIGURES:
        near = nearest(text, FIGURES, cutoff=0.4) or "disk_used_percent"
        raise ValueError(f'{describe(text)} is no figure; one of {len(FIGURES)} (docs/metrics.md), like "{near}"')
    return text


def _web_origin(text: str) -> str:
    """As browsers send it: scheme, host and port in lower case, no path, and not the port that the scheme implies."""
    origin = text.lower().removesuffix("/")
    if not _WEB_ORIGIN.fullmatch(origin):
        raise ValueError(f'{describe(text)} is no origin; scheme, host and port, like "https://app.example.org"')
    scheme, _, place = origin.partition("://")
    return origin.removesuffix({"http": ":80", "https": ":443"}.get(scheme, "\n")) if place else origin


def _alert_url(text: str) -> str:
    if not _ALERT_URL.fullmatch(text):
        # Such an address often holds a password: it is not repeated.
        raise ValueError('no Apprise address; a text like "mailto://user:password@example.org"')
    return text


def _callback(text: str) -> str:
    if because := check_entry(text):
        raise ValueError(f'{describe(text)} cannot be used: {because}; a text like "https://example.org/hooks/"')
    return text


def _clock_time(text: str) -> str:
    if not text:
        return ""
    try:
        hour, minute = cron_times.clock_time(text)
    except ValueError:
        raise ValueError(f'{describe(text)} is no time of the day; a text like "07:30", or ""') from None
    return f"{hour:02d}:{minute:02d}"


def _cron(text: str) -> str:
    try:
        cron_times.parse(text)
    except ValueError as e:
        raise ValueError(f"{describe(text)} cannot be used: {e}; {cron_times.RIGHT}") from None
    return text


def _time_zone(text: str) -> str:
    """Loads the zone now, so that no later use has to read a file."""
    if text:
        try:
            if not _TIME_ZONE.fullmatch(text):
                raise ValueError
            zoneinfo.ZoneInfo(text)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            raise ValueError(
                f'{describe(text)} is no time zone that is known here; a name like "Asia/Shanghai" (the system\'s '
                'package tzdata holds them), or "" for the machine\'s'
            ) from None
    return text


def _alert_name(text: str) -> str:
    figure = re.split("[><:]", text, maxsplit=1)[0]
    if figure not in FIGURES:
        near = nearest(figure, FIGURES, cutoff=0.4) or "disk_used_percent"
        raise ValueError(f'{describe(text)} is no alert; a name as `modelward alerts` lists it, like "{near}"')
    return text


def _keyword(text: str) -> str:
    if len(text) > MAX_KEYWORD_CHARS:
        raise ValueError(f"{describe(text)} is too long; at most {MAX_KEYWORD_CHARS} characters")
    return text


def _template(value: object) -> str:
    """A text of several lines with fields."""
    if not isinstance(value, str):
        raise ValueError(f"{describe(value)} is no text; put it in quotes")
    if len(value) > MAX_TEMPLATE_CHARS:
        raise ValueError(f"is too long; at most {MAX_TEMPLATE_CHARS} characters")
    if not value.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("the text holds a character that cannot be printed; leave it out")
    fields = ", ".join(f"${field}" for field in TEMPLATE_FIELDS)
    if not Template(value).is_valid():
        raise ValueError(f"holds a $ that begins no field; {fields}, or $$ for a $ itself")
    for field in Template(value).get_identifiers():
        if field not in TEMPLATE_FIELDS:
            raise ValueError(f"${field[:40]} is no field; {fields}")
    return value


def _web_address(text: str) -> str:
    if not _WEB_ADDRESS.fullmatch(text):
        # Such an address often holds a token: it is not repeated.
        raise ValueError('no web address; a text like "https://gateway.example.org/send"')
    return text


def _short_text(text: str) -> str:
    if len(text) > MAX_SHORT_CHARS:
        raise ValueError(f"{describe(text)} is too long; at most {MAX_SHORT_CHARS} characters")
    return text


def _header_value(text: str) -> str:
    # It holds a password or a token: it is not repeated.
    if len(text) > MAX_HEADER_CHARS:
        raise ValueError(f"is too long; at most {MAX_HEADER_CHARS} characters")
    if any(ord(char) > 255 for char in text):
        raise ValueError('holds a character that no header can hold; Latin-1 alone, like "Bearer TOKEN"')
    return text


absolute_path = text_check(_absolute)
log_receiver = text_check(_log_receiver)
log_directory = text_check(_log_directory)
absolute_path_or_none = text_check(_absolute_or_none)
token_file = text_check(_token_file)
path_pattern = text_check(_glob)
plain_name = text_check(_plain_name)
address = text_check(_address)
address_or_none = text_check(_address_or_none)
minisign_key = text_check(_minisign_key)
metric_name = text_check(_figure)
class_name = text_check(_matching(_CLASS_NAME, 'small letters, digits, - and _, like "uploads"'))
provider_name = text_check(_matching(_PROVIDER, 'a name like "CPUExecutionProvider"'))
model_alias = text_check(_matching(_MODEL_ALIAS, 'up to 64 characters without spaces, like "gpt-4o-transcribe"'))
web_origin = text_check(_web_origin)
alert_url = text_check(_alert_url)
clock_time_or_none = text_check(_clock_time)
cron = text_check(_cron)
time_zone = text_check(_time_zone)
alert_name = text_check(_alert_name)
short_text = text_check(_short_text)
header_value = text_check(_header_value)
keyword = text_check(_keyword)
template = Check(_template)
web_address = text_check(_web_address)
web_address_or_none = text_check(lambda text: _web_address(text) if text else "")
weekday = text_check(_matching(_WEEKDAY, "mon, tue, wed, thu, fri, sat or sun"))
callback = text_check(_callback)
share = Check(lambda value: value if isinstance(value, DiskShare) else parse_share(value))
