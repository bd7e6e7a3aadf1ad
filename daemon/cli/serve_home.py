"""Where `modelward serve` keeps its files, and the configuration that it writes there.

`home_of` and `config_text` are pure. Invariant: the text depends on the home, the model root and the ports alone, so
that a file that was not edited is known by its text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

SOCKET: Final = "api.sock"
MAX_RUNTIME_BYTES: Final = 80
"""The sockets in it have longer paths, and the kernel allows 107 bytes."""


class ServeHome(NamedTuple):
    """The directories of one `serve`. All but `runtime_dir` lie in `home`."""

    home: Path
    runtime_dir: Path

    @property
    def config(self) -> Path:
        return self.home / "modelward.toml"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def socket(self) -> Path:
        return self.runtime_dir / SOCKET

    @property
    def directories(self) -> tuple[Path, ...]:
        """What must exist before the daemon starts, the home first."""
        return (self.home, self.runtime_dir, *(self.home / name for name in ("models", "state", "cache", "logs")))


def home_of(environ: Mapping[str, str], user_home: str, given: Path | None = None) -> ServeHome:
    """The places. `given` is the directory that holds all of them; else they are where XDG has them."""
    if given is not None:
        return ServeHome(given, given / "run")
    data = _absolute(environ.get("XDG_DATA_HOME", "")) or Path(user_home) / ".local" / "share"
    home, runtime = data / "modelward", _absolute(environ.get("XDG_RUNTIME_DIR", ""))
    inside = runtime / "modelward" if runtime else home / "run"
    return ServeHome(home, inside if len(bytes(inside)) <= MAX_RUNTIME_BYTES else home / "run")


def home_here(given: Path | None = None) -> ServeHome:
    """The places for this process. A runtime directory that is another user's, as `sudo` and `su` leave it, or that is
    not there, does not count.
    """
    environ = dict(os.environ)
    try:
        usable = os.stat(environ.get("XDG_RUNTIME_DIR", "")).st_uid == os.geteuid()
    except OSError:
        usable = False
    if not usable:
        environ.pop("XDG_RUNTIME_DIR", None)
    return home_of(environ, os.path.expanduser("~"), given)


def _absolute(text: str) -> Path | None:
    """XDG: a path that is not absolute is to be ignored."""
    return Path(text) if text.startswith("/") else None


def config_text(home: ServeHome, root: Path, port: int, panel_port: int) -> str:
    """The configuration. Nothing outside the home, the runtime directory and the model root is touched."""

    def text(path: Path) -> str:
        return json.dumps(str(path), ensure_ascii=False)  # JSON's quoting is TOML's

    # A root that is the user's own loses no version to us.
    keep = "" if root == home.models else "keep = 10000  # none of your versions is removed\n"
    return f"""\
# Written by `modelward serve`, which writes it again for other ports or another model root until you change it.
# All keys: `man modelward.toml`.

[models]
root = {text(root)}
{keep}
[validation]
golden = ""

[workers]
count = 0  # one for each processor, as far as memory goes
listen = "127.0.0.1:{port}"
drain = "10s"

[control]
runtime_dir = {text(home.runtime_dir)}
state_dir = {text(home.home / "state")}
cache_dir = {text(home.home / "cache")}

[panel]
listen = "127.0.0.1:{panel_port}"

[logs]
dir = {text(home.home / "logs")}

[disk]
min_free = "1GiB"
target_free = "2GiB"

[[disk.class]]
name = "uploads"
path = {text(home.home / "uploads")}
"""
