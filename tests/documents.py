"""Reads the documents and runs what they tell people to type, in a house of its own below a scratch directory.

A remark right above a block says what is special about it: `<!-- not run: why -->`, `<!-- exit 2 -->`,
`<!-- until: text -->` (a program that stays is interrupted once it wrote the text) or `<!-- into: modelward.toml -->`
(goes to the end of the configuration). Absolute paths of the product are put below the scratch directory, the service's
port is the house's own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually, modules
from tests.versions import clips, good_version

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)
VERSION = "sensevoice-v1.0"
_BLOCK = re.compile(
    r"(?:^<!-- (?P<remark>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. `remark` is "" where none stands above it."""

    page: str
    line: int
    language: str
    text: str
    remark: str

    @property
    def not_run(self) -> str:
        """Why it is not run; "" when it is."""
        return self.remark.removeprefix("not run: ") if self.remark.startswith("not run: ") else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, m.start("language")) + 1, m["language"], m["text"], m["remark"] or "")
        for m in _BLOCK.finditer(text)
    ]


class World(House):
    """A house with its configuration in a directory of its own, as on a real machine, and things to work with.

    Beside the house's directories: new-version/, clips/, and below srv/webui an older service's models, uploads, logs.
    """

    @classmethod
    def build(cls, root: Path) -> World:
        """Not started yet."""
        (root / "etc").mkdir(parents=True)
        (root / "bin").mkdir()
        world = cls(root, {"panel": {"listen": "127.0.0.1:0"}, "workers": {"count": 1}})
        good_version(world.models, VERSION)
        (world.root / "clips").mkdir()
        for name in ("5551234",):
            (root / "clips" / f"{name}.wav").write_bytes(clips()[name].read_bytes())
        good_version(root, "new-version", words=True)
        old = root / "srv" / "webui"
        for name in ("models", "uploads", "logs"):
            (old / name).mkdir(parents=True)
        good_version(old / "models", "sensevoice-v0.9")
        (old / "uploads" / "yesterday.wav").write_bytes(b"x" * 5000)
        (old / "logs" / "webui.log").write_text("one line\n" * 1000, encoding="utf-8")
        command = root / "bin" / "modelward"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m modelward.daemon "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        return world

    @property
    def config(self) -> Path:
        return self.root / "etc" / "modelward.toml"

    def placed(self, text: str) -> str:
        """A text of the documents with this world's paths and port in it."""
        for path, here in (
            ("/etc/modelward", "etc"),
            ("/var/lib/modelward/models", "models"),
            ("/var/lib/modelward", "state"),
            ("/var/cache/modelward", "cache"),
            ("/var/log/modelward", "log"),
            ("/run/modelward", "run"),
            ("/srv/webui", "srv/webui"),
        ):
            text = re.sub(rf"(?<![\w/]){path}(?![\w-])", str(self.root / here), text)
        return text.replace("127.0.0.1:7860", f"127.0.0.1:{self.port}")

    @property
    def environment(self) -> dict[str, str]:
        """What a shell in this world has."""
        made = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return {
            **made,
            "PATH": f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": modules(),
            "MODELWARD_SOCKET": str(self.root / "run" / "api.sock"),
            "MODELWARD_WORKERS": str(self.root / "run" / "workers.sock"),
            "MODELWARD_URL": f"http://127.0.0.1:{self.port}",
        }

    def follow(self, block: Block) -> None:
        """Does what a block says. Fails the test where it fails, or answers otherwise than the page says."""
        text = self.placed(block.text)
        if block.remark == "into: modelward.toml":
            with open(self.config, "a", encoding="utf-8") as file:
                file.write("\n" + text)
        elif block.language == "console":
            for command, expected in _dialogue(text):
                self._expect(block, command, expected)
        elif block.remark.startswith("until: "):
            self._until(block, text, block.remark.removeprefix("until: "))
        else:
            wanted = int(block.remark.removeprefix("exit ")) if block.remark.startswith("exit ") else 0
            done = self.shell(text)
            assert done.returncode == wanted, f"{block}: {done.returncode}\n{done.stdout}{done.stderr}"

    def shell(
        self, text: str, *, cwd: Path | None = None, seconds: float = PATIENCE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Runs a text as a shell would run it that gives up at the first failure."""
        return subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=cwd or self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def _expect(self, block: Block, command: str, expected: str) -> None:
        done = self.shell(f"{command} 2>&1 || true")
        pattern = re.escape(expected.strip()).replace("…", ".*?")
        shown = done.stdout.strip()
        assert re.fullmatch(pattern, shown, re.DOTALL), f"{block}: {command}\n{shown}\n  instead of\n{expected}"

    def _until(self, block: Block, text: str, mark: str) -> None:
        """Runs what stays in the foreground, from the checkout, and interrupts it once it said what is promised."""
        output = self.root / "until.out"
        with open(output, "wb") as out:
            process = subprocess.Popen(
                ["bash", "-eu", "-c", text.replace("make ", "make -o .venv/stamp ")],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            eventually(lambda: mark in output.read_text() or process.poll() is not None)
            assert process.poll() is None, f"{block}: it ended: {output.read_text()}"
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(PATIENCE_SECONDS)


def _dialogue(text: str) -> Iterator[tuple[str, str]]:
    """Commands, which begin with `$ `, and what the page says that they print."""
    command, expected = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], ""
        else:
            expected += line + "\n"
    yield command, expected
