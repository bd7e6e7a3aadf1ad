"""The text of `modelward demo`: its configuration, and the commands to paste, with real paths.

Pure. The commands are for a shell as they are; every path in them is quoted where necessary.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import NamedTuple


class Scratch(NamedTuple):
    """Where everything of one demo lies, and the address that it answers on."""

    root: Path
    port: int
    panel_port: int

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def versions(self) -> Path:
        return self.root / "versions"

    @property
    def config(self) -> Path:
        return self.root / "modelward.toml"

    @property
    def socket(self) -> Path:
        return self.root / "run" / "api.sock"

    @property
    def clip(self) -> Path:
        return self.root / "clips" / "5551234.wav"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def panel(self) -> str:
        return f"http://127.0.0.1:{self.panel_port}"


def config_text(scratch: Scratch) -> str:
    """A configuration that touches nothing outside the scratch directory, with short waits."""

    def text(path: Path) -> str:
        return json.dumps(str(path))  # JSON's quoting is TOML's

    return f"""\
[models]
root = {text(scratch.models)}
settle = "1s"

[validation]
golden = ""

[rollout]
bake = "2s"

[workers]
count = 2
listen = "127.0.0.1:{scratch.port}"

[control]
runtime_dir = {text(scratch.socket.parent)}
state_dir = {text(scratch.root / "state")}
cache_dir = {text(scratch.root / "cache")}

[panel]
listen = "127.0.0.1:{scratch.panel_port}"

[logs]
dir = {text(scratch.root / "logs")}

[[disk.class]]
name = "uploads"
path = {text(scratch.root / "uploads")}
"""


def directories(scratch: Scratch) -> tuple[Path, ...]:
    """What must exist before the daemon starts."""
    return (
        scratch.models,
        scratch.socket.parent,
        *(scratch.root / name for name in ("state", "cache", "logs", "uploads")),
    )


def next_steps(scratch: Scratch, command: str, panel: str) -> str:
    """What to try, step by step; `command` is how modelward is called here, `panel` the link to the panel."""

    def quoted(path: Path) -> str:
        return shlex.quote(str(path))

    socket = f"--socket {quoted(scratch.socket)}"
    return f"""\
The panel, with all of this as it happens (the link logs one browser in, once):
{panel}
Another link: {command} panel {socket}
The page, for your own recordings: {scratch.url}

Now paste these into another terminal.

1. Transcribe a clip:
   curl -s -F audio=@{quoted(scratch.clip)} {scratch.url}/api/predict; echo

2. Ask again and again, five times a second; leave it running:
   while sleep 0.2; do curl -s -F audio=@{quoted(scratch.clip)} {scratch.url}/api/predict; echo; done

3. In a third terminal, drop the next version in, and watch digits become words with no request lost:
   cp -r {quoted(scratch.versions / "dtmf-v1.1")} {quoted(scratch.models)}/

4. Drop a broken one in: it is refused, with the reason, and the old one serves on:
   cp -r {quoted(scratch.versions / "dtmf-v1.2")} {quoted(scratch.models)}/
   {command} versions {socket}

5. Go back, and see what happened:
   {command} rollback {socket}
   {command} status {socket}
   {command} history {socket}
"""
