"""Which pages are made, and of what."""

from __future__ import annotations

from pathlib import Path

from tests import metrics_page
from tests.pages import (
    configuration,
    limits,
    manual,
    protocol,
)
from tests.pages.marks import filled

from modelward.daemon.models import lifecycle

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
        "docs/limits.md": _filled("docs/limits.md", limits.tables()),
    }


def _filled(path: str, parts: dict[str, str]) -> str:
    return filled((ROOT / path).read_text(encoding="utf-8"), parts)
