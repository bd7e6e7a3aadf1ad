"""What the documents tell people to type works, their links lead somewhere, both READMEs say the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documents import (
    PAGES,
    ROOT,
    VERSION,
    Block,
    World,
    blocks,
)
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.config.load import parse
from modelward.daemon.health.rules import BUILT_IN

ALL = [block for page in PAGES for block in blocks(page)]
TYPED = ("sh", "console")
SHOWN = ("mermaid", "text", "nginx", "caddy", "haproxy", "ini", "json", "toml", "python")
SPECIAL = re.compile(r"not run: \S.{14,}|exit \d+|until: \S.+|into: modelward\.toml|made: [a-z-]+|")


def words(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


RUN = [page for page in PAGES if any(b.language in TYPED and not b.not_run for b in blocks(page))]


@pytest.fixture(scope="module", params=RUN)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """One page, and a house that serves, for all of its blocks in order."""
    for program in ("curl", "bash"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, and the documents use it")
    if request.param == "README.zh-CN.md":
        pytest.skip("its blocks are those of README.md, which another test makes sure of")
    made = World.build(tmp_path_factory.mktemp("world"))
    try:
        made.start(VERSION)
        yield request.param, made
    finally:
        made.close()


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_is_run_or_says_why_it_is_not(block: Block) -> None:
    assert block.language in (*TYPED, *SHOWN), f"{block}: who would check a block of {block.language}?"
    assert SPECIAL.fullmatch(block.remark), f"{block}: no remark that is known: {block.remark!r}"
    for test in re.findall(r"tests/[\w/]+\.py", block.remark):
        assert (ROOT / test).exists(), f"{block}: {test} is not there"


@pytest.mark.system
def test_what_a_page_says_to_type_works(world: tuple[str, World]) -> None:
    page, house = world
    for block in blocks(page):
        if block.not_run or (block.language not in TYPED and block.remark != "into: modelward.toml"):
            continue
        if "make " in block.text and not (ROOT / ".venv" / "bin" / "python").exists():
            continue  # the suite runs from elsewhere: there is no environment that make would find ready
        house.follow(block)


@pytest.mark.system
def test_the_programs_of_the_protocol_page_are_reloaded(tmp_path: Path) -> None:
    house = World.build(tmp_path / "world")
    programs = [block.text for block in blocks("docs/worker-protocol.md") if block.language == "python"]
    assert len(programs) == 2
    try:
        house.start(VERSION)
        done = subprocess.run(
            ["python3", "-c", programs[0]],
            env=house.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout.startswith(f"{VERSION} is loaded, ")
        with open(house.root / "by-hand.out", "wb") as out:
            by_hand = subprocess.Popen(["python3", "-c", programs[1]], env=house.environment, stdout=out)
        try:
            eventually(lambda: any(w["name"] == "by-hand" and w["attached"] for w in house.workers()))
            assert house.shell(f"mv new-version {house.models}/sensevoice-v1.1").returncode == 0
            house.await_serving("sensevoice-v1.1")
            assert (house.root / "by-hand.out").read_text().count("load ") == 2
        finally:
            by_hand.kill()
            by_hand.wait(PATIENCE_SECONDS)
    finally:
        house.close()


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "toml"], ids=str)
def test_a_piece_of_configuration_is_taken(block: Block) -> None:
    parse(block.text, str(block))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in words(there.read_text(encoding="utf-8")), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / page).read_text(encoding="utf-8")):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{page}: {file}::{name}"


def test_both_readmes_tell_the_same_commands_and_links() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    typed = [[b for b in blocks(name) if b.language != "text"] for name in ("README.md", "README.zh-CN.md")]
    bare = [[re.sub(r" *#.*", "", block.text) for block in page] for page in typed]  # a picture has words in it
    assert bare[0] == bare[1]
    links = [sorted(re.findall(r"\]\(([^)]+)\)", text)) for text in (english, chinese)]
    assert [link for link in links[0] if not link.startswith("README")] == [
        link for link in links[1] if not link.startswith("README")
    ]
    assert english.count("\n#") == chinese.count("\n#")


def test_every_alert_that_is_shipped_has_its_section() -> None:
    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (`.+)\n\n((?:(?!^#).*\n)+)", text, re.MULTILINE))
    names = {name for heading in sections for name in re.findall(r"`(\w+)`", heading)}
    rules = set(re.findall(r"- alert: (\w+)", (ROOT / "etc/prometheus-rules.yml").read_text(encoding="utf-8")))
    assert names == {rule.metric for rule in BUILT_IN} | rules
    assert all(len(body.split()) > 15 for body in sections.values())


def test_more_blocks_are_run_than_are_not() -> None:
    typed = [block for block in ALL if block.language in TYPED]
    assert sum(not block.not_run for block in typed) > sum(bool(block.not_run) for block in typed)
