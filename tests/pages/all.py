"""Which pages are made, and of what."""

from __future__ import annotations

import json
from pathlib import Path

from tests import metrics_page
from tests.pages import (
    configuration,
    limits,
    manual,
    protocol,
)
from tests.pages.marks import filled
from tests.sentences import page_words, panel_words

from modelward.daemon.models import lifecycle
from modelward.worker.shared.catalogue import chinese_of

ROOT = Path(__file__).resolve().parents[2]


def made() -> dict[str, str]:
    """Each page's path and what must stand there. Raises ValueError when a page has lost its marks."""
    diagram = f"```mermaid\n{lifecycle.mermaid()}```\n"
    return {
        "docs/metrics.md": metrics_page.page(),
        "docs/configuration.md": configuration.page(),
        "docs/man/modelward.1": manual.commands(),
        "docs/man/modelward.toml.5": manual.keys(),
        "docs/how-it-works.md": _filled("docs/how-it-works.md", {"lifecycle": diagram}),
        "docs/worker-protocol.md": _filled("docs/worker-protocol.md", protocol.tables()),
        "daemon/panel/static/i18n/zh.json": json.dumps(chinese_of(panel_words()), ensure_ascii=False, indent=1) + "\n",
        "worker/http/static/words.zh.js": _page_words(),
        "docs/limits.md": _filled("docs/limits.md", limits.tables()),
    }


def _page_words() -> str:
    words = json.dumps(chinese_of(page_words()), ensure_ascii=False, indent=2)
    remark = "// The page's words in Chinese, made from words.js and the catalogue: make docs."
    return f"{remark}\n\nexport const zh = {words};\n"


def _filled(path: str, parts: dict[str, str]) -> str:
    return filled((ROOT / path).read_text(encoding="utf-8"), parts)
