"""Sends a mail by SMTP, with the standard library: for the child that sends an alert.

`smtp[s]://[user:password@]host[:port]/to[/to…]?from=…` and the simple forms of Apprise's `mailto[s]://`. Port 465 is
encrypted from the first byte; port 587 requires STARTTLS. Certificates are always checked. A password is sent without
encryption only to this machine, or when the address has `mode=insecure`.
"""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from ...worker.shared.loopback import is_this_machine
from .http_post import NotDelivered, trusted

PORTS: Final = {"ssl": 465, "starttls": 587, "auto": 25, "insecure": 25}
MODES: Final = {465: "ssl", 587: "starttls"}
PROVIDERS: Final = {
    "gmail.com": ("smtp.gmail.com", 587),
    "outlook.com": ("smtp-mail.outlook.com", 587),
    "hotmail.com": ("smtp-mail.outlook.com", 587),
    "yahoo.com": ("smtp.mail.yahoo.com", 465),
    "qq.com": ("smtp.qq.com", 465),
    "163.com": ("smtp.163.com", 465),
    "126.com": ("smtp.126.com", 465),
    "yeah.net": ("smtp.yeah.net", 465),
    "sina.com": ("smtp.sina.com", 465),
    "aliyun.com": ("smtp.aliyun.com", 465),
    "foxmail.com": ("smtp.qq.com", 465),
}
"""Servers of mailto addresses that name only the domain."""


class Post(NamedTuple):
    """Where a mail goes. `mode`: ssl, starttls (required), auto (when offered) or insecure (never)."""

    host: str
    port: int
    mode: str
    user: str
    password: str
    sender: str
    to: tuple[str, ...]


def read(url: str) -> Post:
    """What a mail address of the configuration means. Raises NotDelivered."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotDelivered("the mail address cannot be read") from None
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    domain = parts.hostname or ""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    listed = query.get("to", "").replace(" ", ",").split(",")
    named = [unquote(part) for part in (*parts.path.split("/"), *listed) if part]
    own = user if "@" in user else f"{user}@{domain}" if user else ""
    to = tuple(name if "@" in name else f"{name}@{domain}" for name in named) or ((own,) if own else ())
    known = PROVIDERS.get(domain) if parts.scheme.startswith("mailto") and not query.get("smtp") and not port else None
    host, port = known or (query.get("smtp", domain), port)
    secure = parts.scheme in ("smtps", "mailtos")
    usual = MODES.get(port or 0, "ssl" if parts.scheme == "smtps" else "starttls" if secure else "auto")
    mode = query.get("mode", usual)
    if not host or not to or mode not in PORTS:
        raise NotDelivered("the mail address names no server, no receiver or an unknown mode")
    sender = query.get("from", own) or f"modelward@{domain}"
    if "@" not in sender:
        sender = own or f"modelward@{domain}"
    if any(not text.isprintable() for text in (sender, *to)):
        raise NotDelivered("the mail address holds a character that cannot be printed")
    return Post(host, port or PORTS[mode], mode, user, password, sender, to)


def send(url: str, title: str, body: str, *, wall: float, seconds: float, ca_file: str = "") -> None:
    """Sends one mail to every recipient of the address. Raises NotDelivered when any of them is refused."""
    post = read(url)
    mail = EmailMessage()
    mail["Subject"] = " ".join(title.split())
    mail["From"], mail["To"] = post.sender, ", ".join(post.to)
    mail["Date"] = format_datetime(datetime.fromtimestamp(wall, UTC))
    mail["Message-ID"] = make_msgid(domain="modelward.invalid")
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(body)
    try:
        with _connect(post, seconds, trusted(ca_file)) as server:
            if refused := server.send_message(mail):
                raise NotDelivered(f"{len(refused)} of {len(post.to)} receivers were refused")
    except smtplib.SMTPResponseException as e:
        raise NotDelivered(f"the mail server answered {e.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused:
        raise NotDelivered("every receiver was refused") from None
    except smtplib.SMTPException as e:
        raise NotDelivered(f"the mail server does not do its part: {type(e).__name__}") from None
    except ssl.SSLError as e:
        raise NotDelivered(f"no trusted connection: {e.reason or type(e).__name__}") from None
    except OSError as e:
        raise NotDelivered(f"no connection: {e.strerror or type(e).__name__}") from None


def _connect(post: Post, seconds: float, context: ssl.SSLContext) -> smtplib.SMTP:
    if post.mode == "ssl":
        server: smtplib.SMTP = smtplib.SMTP_SSL(post.host, post.port, timeout=seconds, context=context)
        safe = True
    else:
        server = smtplib.SMTP(post.host, post.port, timeout=seconds)
        server.ehlo_or_helo_if_needed()
        safe = post.mode != "insecure" and server.has_extn("starttls")
        if safe:
            server.starttls(context=context)
        elif post.mode == "starttls":
            raise NotDelivered("the mail server offers no encryption")
    if post.user and post.password:
        if not safe and post.mode != "insecure" and not is_this_machine(post.host):
            raise NotDelivered(
                "the mail server offers no encryption, and a password is not sent without; mode=insecure allows it"
            )
        server.login(post.user, post.password)
    return server
