"""Reads the page that a web server makes for a directory: nginx, Caddy, Apache, Python's http.server.

Pure. Of a page it takes only links to names directly below the page itself. Invariant: nothing that it returns leads to
another host, above the directory, or to a name with a slash, a NUL or dots in it.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

MAX_LINKS: Final = 5_000


def entries_of(page: str, url: str) -> tuple[list[str], list[str]]:
    """The files and the directories of a page at `url`, which ends with a slash: names, sorted, decoded."""
    reader = _Links()
    reader.feed(page)
    files: set[str] = set()
    directories: set[str] = set()
    for link in reader.found:
        name, directory = _name_below(link, url)
        if name:
            (directories if directory else files).add(name)
    return sorted(files), sorted(directories)


def _name_below(link: str, url: str) -> tuple[str, bool]:
    """The name that a link gives to an entry of the directory, "" for none; whether it is a directory."""
    try:
        to, base = urlsplit(urljoin(url, link)), urlsplit(url)
        name = unquote(to.path.removeprefix(base.path), errors="strict")
    except (ValueError, UnicodeDecodeError):
        return "", False
    if (to.scheme, to.netloc) != (base.scheme, base.netloc) or to.query or not to.path.startswith(base.path):
        return "", False
    directory = name.endswith("/")
    name = name.removesuffix("/")
    outside = name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable()
    return ("", False) if outside else (name, directory)


class _Links(HTMLParser):
    """The targets of the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and len(self.found) < MAX_LINKS:
            self.found += [value.strip() for name, value in attrs if name == "href" and value]
