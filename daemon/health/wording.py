"""The operator's own text: a fixed keyword, a text for robots, and bodies for gateways with their own format.

Pure. Fields in a template are `$name` of FIELDS; all else in it is sent unchanged. Invariant: what goes into a body for
a program is escaped for that kind of body, so no alert can change its structure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from string import Template
from typing import Final
from urllib.parse import quote_plus

from msgspec import Struct
from msgspec.structs import replace

from .addresses import CHATS, Address
from .message_text import Text

_ESCAPES: Final[Mapping[str, Callable[[str], str]]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "form": quote_plus,
    "text": str,
}


class Wording(Struct, frozen=True):
    """`keyword` begins every title; `template` is what robots get, "" for title and body."""

    keyword: str = ""
    template: str = ""

    def room(self, address: Address) -> int:
        """What of an address' bytes is left for title and body."""
        used = len(self.keyword.encode()) + 1 if self.keyword else 0
        used += len(self.template.encode()) if address.way in CHATS else 0
        return max(address.text_bytes // 4, address.text_bytes - used)

    def worded(self, text: Text, address: Address) -> Text:
        """The text as this address gets it."""
        if self.keyword:
            text = replace(text, title=f"{self.keyword} {text.title}")
        if address.form is not None:
            escape = _ESCAPES[address.form.kind]
            return replace(text, raw=_filled(address.form.body, {n: escape(v) for n, v in self._fields(text).items()}))
        if self.template and address.way in CHATS:
            chat = _filled(self.template, self._fields(text))
            chat = chat if self.keyword in chat else f"{self.keyword} {chat}"
            return replace(text, chat=cut(chat, address.text_bytes))
        return text

    def _fields(self, text: Text) -> dict[str, str]:
        data = text.data
        return {
            "title": text.title,
            "body": text.body,
            "severity": str(data.get("severity", "")),
            "status": str(data.get("status", "")),
            "host": str(data.get("host", "")),
            "count": str(data.get("total", "")),
            "keyword": self.keyword,
        }


def _filled(template: str, fields: Mapping[str, str]) -> str:
    return Template(template).safe_substitute(fields)


def cut(text: str, max_bytes: int) -> str:
    """As many whole characters as fit."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= max_bytes else data[: max_bytes - 3].decode("utf-8", "ignore") + "…"
