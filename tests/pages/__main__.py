"""Writes every made page: `python -m tests.pages`."""

from tests.pages.all import ROOT, made

for path, text in made().items():
    (ROOT / path).write_text(text, encoding="utf-8")
