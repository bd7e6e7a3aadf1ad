"""The page's files: what others made is unchanged, both languages say everything, nothing makes markup of text."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from modelward.daemon.fleet.waves import WaveStep
from modelward.daemon.panel.server import page_files
from modelward.daemon.workers.rollout_planner import Stage

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "daemon" / "panel" / "static"
SCRIPTS = sorted(p for p in STATIC.rglob("*.js") if "vendor" not in p.parts)
VENDORS = [STATIC / "vendor", ROOT / "tests" / "vendor"]
WORDS = {name: json.loads((STATIC / "i18n" / f"{name}.json").read_text(encoding="utf-8")) for name in ("en", "zh")}


@pytest.mark.parametrize("place", VENDORS, ids=["panel", "tests"])
def test_files_of_others_are_what_they_were(place: Path) -> None:
    listed = dict(
        line.split()[::-1] for line in re.findall(r"^[0-9a-f]{64}  .+$", (place / "VENDOR.md").read_text("utf-8"), re.M)
    )
    there = {str(p.relative_to(place)): p for p in place.rglob("*") if p.is_file() and p.name != "VENDOR.md"}
    assert there and {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in there.items()} == listed
    for directory in place.iterdir():
        assert not directory.is_dir() or (directory / "LICENSE").is_file()


def test_both_languages_have_the_same_words() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    for key, text in WORDS["en"].items():
        assert text and WORDS["zh"][key]
        places = set(re.findall(r"\{\w+\}", text))
        assert places == set(re.findall(r"\{\w+\}", WORDS["zh"][key])), key


def test_every_word_that_is_asked_for_exists_and_every_word_is_asked_for() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in SCRIPTS)
    asked = set(re.findall(r"\bt\('([\w. ]+)'", source))
    asked |= {key for pair in re.findall(r"\? '([\w.]+)' : '([\w.]+)'", source) for key in pair if "." in key}
    patterns = [re.sub(r"\\\$\\\{.*?\\\}", r"[\\w -]+", re.escape(p)) for p in re.findall(r"\bt\(`([^`]+)`", source)]
    groups = set(re.findall(r"(?:badge\(|setBadge\(\w+, |word\()'(\w+)'", source))
    patterns += [rf"{group}\.[\w -]+" for group in groups]
    quoted = set(re.findall(r"'([\w.]+)'", source))
    assert sorted(asked - WORDS["en"].keys()) == []
    idle = [k for k in WORDS["en"] if k not in asked | quoted and not any(re.fullmatch(p, k) for p in patterns)]
    assert idle == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_no_script_makes_markup_or_code_of_text(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://", source
    )
    assert len(source.splitlines()) < 300


def test_the_page_has_nothing_inline_and_asks_nobody_else() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|style=|<script>|\son\w+=|//", page.replace("<!doctype", ""))
    for style in STATIC.glob("*.css"):
        assert not re.search(r"url\(|@import", style.read_text(encoding="utf-8"))


def test_every_file_is_served_and_every_file_that_is_named_is_there() -> None:
    served = page_files()
    files = {p for p in STATIC.rglob("*") if p.suffix in (".js", ".css", ".json", ".svg")}
    assert {"/static/" + str(p.relative_to(STATIC)) for p in files} == served.keys() - {"/", "/favicon.ico"}
    for path in SCRIPTS:
        for name in re.findall(r"from '(\.[^']+)'", path.read_text(encoding="utf-8")):
            assert (path.parent / name).resolve() in files, (path.name, name)


def test_each_kind_of_event_and_each_stage_of_a_rollout_has_its_word() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "daemon").rglob("*.py"))
    kinds = re.findall(r'\b(?:note|self\.record)[(,]\s*"([\w-]+)"', source)
    kinds += [f"fleet-{do}" for do in get_args(get_type_hints(WaveStep)["do"]) if do != "wait"]
    steps = re.findall(r'_step\(rollout, "([\w ]+)"', source)
    words = {f"history.{kind}" for kind in kinds} | {f"step.{step}" for step in steps}
    words |= {f"stage.{stage}" for stage in Stage}
    assert len(kinds) > 20 and len(steps) > 4
    assert sorted(words - WORDS["en"].keys()) == []
