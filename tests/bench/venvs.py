"""An environment for each peer, made by pip when first wanted and kept. What can't be installed is said, no failure.

The same ONNX Runtime as modelward's goes into each that has one: a comparison of servers is none of runtimes.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 900
SAME = ("onnxruntime",)
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """`python` is its interpreter, None when pip could not make it; then `because` has pip's last word."""

    python: Path | None
    because: str = ""

    def versions(self, names: tuple[str, ...]) -> dict[str, str]:
        """Installed version of each distribution named, as far as it is there."""
        if self.python is None:
            return {}
        code = (
            "import importlib.metadata as m, json, re, sys; "
            "print(json.dumps({n: m.version(n) for n in map(lambda r: re.split('[<>=\\\\[]', r)[0], sys.argv[1:])}))"
        )
        out = subprocess.run([self.python, "-c", code, *names], capture_output=True, text=True, check=False)
        return dict(json.loads(out.stdout)) if out.returncode == 0 else {}


def pinned(requirements: tuple[str, ...]) -> list[str]:
    """The requirements, with what has to be the same as ours at our version."""
    return [f"{r}=={importlib.metadata.version(r)}" if r in SAME else r for r in requirements]


def ours() -> tuple[str, ...]:
    """modelward as a user installs it, with compressed audio of all kinds: some of what only tests and checks need is
    imported where it is found."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = (*project["dependencies"], *project["optional-dependencies"]["media"])
    return (*SAME, *(r for r in wanted if not r.startswith(SAME)), "--editable", str(ROOT))


def environment(root: Path, name: str, requirements: tuple[str, ...], *, newest: bool = False) -> Environment:
    """The environment `name` below `root`; made anew when the requirements changed. With `newest` what is older than
    the newest release is replaced: a peer is not measured as it was months ago."""
    home, wanted = root / name, "\n".join(pinned(requirements))
    stamp, python = home / "requirements", home / "bin" / "python"
    there = stamp.exists() and stamp.read_text() == wanted
    if there and not newest:
        return Environment(python)
    print(f"installing {name}", file=sys.stderr, flush=True)
    venv = [sys.executable, "-m", "venv", *([] if there else ["--clear"]), home]
    made = subprocess.run(venv, capture_output=True, text=True, check=False)
    if made.returncode:
        return Environment(None, _last(made.stderr or made.stdout))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned(requirements)]
    pip += ["--upgrade"] if newest else []
    try:
        done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return Environment(None, f"pip did not end within {INSTALL_SECONDS} s")
    if done.returncode:
        return Environment(None, _last(done.stderr or done.stdout))
    stamp.write_text(wanted)
    return Environment(python)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip said nothing"])[-1][:300]


def here(requirements: tuple[str, ...]) -> tuple[Path | None, str]:
    """This interpreter and "", or None and what it lacks of `requirements`."""
    for requirement in requirements:
        try:
            importlib.metadata.version(re.split(r"[<>=\[]", requirement)[0])
        except importlib.metadata.PackageNotFoundError:
            return None, f"{requirement} is not installed here"
    return Path(sys.executable), ""
