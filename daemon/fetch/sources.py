"""Reads SOURCE of `modelward fetch`: a repository of ModelScope or Hugging Face, an address of the web, or a path.

Pure. Raises BadUsage with what would be right. Invariant: what a repository's source names can only be a repository,
never another address.
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from ..errors import BadUsage

Hub = Literal["hf", "ms"]
MAX_SOURCE_CHARS: Final = 2_000
ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".zip")
_NAME: Final = r"[A-Za-z0-9][\w.-]{0,95}"
_REPOSITORY: Final = re.compile(rf"({_NAME}/{_NAME})(?:@(\w[\w./-]{{0,199}}))?", re.ASCII)
_FORMS: Final = "ms:ORG/NAME, hf:ORG/NAME, either with @REVISION, an https address, or a path"
_PAGES: Final = {
    "huggingface.co": "hf", "www.huggingface.co": "hf", "hf-mirror.com": "hf", "modelscope.cn": "ms",
    "www.modelscope.cn": "ms", "modelscope.ai": "ms", "www.modelscope.ai": "ms",
}  # fmt: skip
"""Sites whose pages of a repository people copy from the browser."""


class HubSource(Struct, frozen=True):
    """A repository. `revision` is a branch, a tag or a commit; "" for the hub's own default."""

    hub: Hub
    repository: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.hub}:{self.repository}" + (f"@{self.revision}" if self.revision else "")


class WebSource(Struct, frozen=True):
    """An address. `archive`: its name is that of one; else it is a directory with an index, or shows what it is."""

    url: str
    archive: bool


class PathSource(Struct, frozen=True):
    """A directory or an archive on this machine."""

    path: str
    archive: bool


Source = HubSource | WebSource | PathSource


def parse_source(text: str) -> Source:
    """Raises BadUsage."""
    if not text or len(text) > MAX_SOURCE_CHARS or "\0" in text:
        raise BadUsage(f"cannot fetch: SOURCE is empty or too long; it is {_FORMS}")
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("hf", "ms"):
        return _hub_source("hf" if scheme == "hf" else "ms", rest)
    if "://" in text:
        return _web_source(text)
    return PathSource(text, is_archive(text))


def is_archive(path: str) -> bool:
    """Whether a name is that of an archive that can be unpacked."""
    return path.lower().endswith(ARCHIVES)


def without_archive_ending(name: str) -> str:
    """The name of an archive without what shows its kind."""
    ending = max((e for e in ARCHIVES if name.lower().endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)]


def last_name(url: str) -> str:
    """The last part of an address's path, as text."""
    return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])


def _hub_source(hub: Hub, rest: str) -> HubSource:
    found = _REPOSITORY.fullmatch(rest.strip("/"))
    if found is None or ".." in rest:
        raise BadUsage(f"cannot fetch {hub}:{rest[:200]}: a repository is ORG/NAME; SOURCE is {_FORMS}")
    return HubSource(hub, found[1], found[2] or "")


def _web_source(text: str) -> Source:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadUsage(f"cannot fetch {text[:200]}: that is no address of the web") from None
    if parts.scheme not in ("http", "https"):
        raise BadUsage(f"cannot fetch {text[:200]}: only https addresses, or http with --insecure-http")
    if parts.username or parts.password:
        raise BadUsage("cannot fetch: an address may hold no user and no password; every user could read them")
    names = [name for name in parts.path.split("/") if name]
    hub = _PAGES.get(parts.hostname or "")
    if hub and names[:1] == ["models"]:
        names = names[1:]
    if hub and "resolve" not in names and len(names) >= 2 and not is_archive(parts.path):
        if names[2:3] == ["tree"] and len(names) >= 4:
            return _hub_source("hf" if hub == "hf" else "ms", f"{names[0]}/{names[1]}@{names[3]}")
        return _hub_source("hf" if hub == "hf" else "ms", f"{names[0]}/{names[1]}")
    return WebSource(text, is_archive(parts.path))
