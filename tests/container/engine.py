"""Builds and runs the image by podman and buildah, in a store of its own below a directory.

The base image is made by mmdebstrap from Debian's archive, so no registry need be reached; it has what Debian's slim
image has. Steps of the build run by chroot, and no control groups are made: both work in a small virtual machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import PATIENCE_SECONDS

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINERFILE = "etc/container/Containerfile"
BASE = "localhost/debian:bookworm-slim"
IMAGE = "localhost/modelward"
TOOLS = ("podman", "buildah", "mmdebstrap", "crun", "unshare")
HOOK = Path("/usr/share/mmdebstrap/hooks/merged-usr")
# crun refuses control groups of both versions at once; without the second it starts, and makes none.
QUIET_GROUPS = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'


def missing() -> str:
    """Why nothing can be built here; "" when it can."""
    if os.geteuid() != 0:
        return "needs root: it makes a root of Debian"
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(absent)} (apt-get install podman buildah mmdebstrap crun)"
    return ""


@dataclass(frozen=True)
class Engine:
    """One store of images and containers."""

    place: Path

    def call(self, *words: str, tool: str = "podman") -> subprocess.CompletedProcess[str]:
        """A command of the engine, whatever its status."""
        return subprocess.run(
            self.command(*words, tool=tool), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )

    def command(self, *words: str, tool: str = "podman") -> list[str]:
        store = [f"--root={self.place}/store", f"--runroot={self.place}/run", "--storage-driver=vfs"]
        if tool == "podman":
            store += ["--cgroup-manager=cgroupfs", "--runtime=crun", "--events-backend=file"]
        return ["unshare", "--mount", "sh", "-c", QUIET_GROUPS, "sh", tool, *store, *words]

    def run(self, *words: str, tool: str = "podman") -> str:
        """The same for what must not fail; what it printed."""
        done = self.call(*words, tool=tool)
        assert done.returncode == 0, f"{tool} {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def make_base(self) -> None:
        """Debian's slim image: the essential packages and apt, without documents."""
        archive = self.place / "base.tar"
        if not archive.exists():
            aside = archive.with_name("aside.tar")
            left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
            merged = [f"--hook-dir={HOOK}", "--include=usr-is-merged"]
            subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=apt", *merged, *left_out, "bookworm", str(aside)], check=True
            )
            aside.rename(archive)
        if self.call("image", "exists", BASE).returncode:
            self.run("import", str(archive), BASE)

    def build(self, *words: str) -> None:
        """The Containerfile as it is, on that base; with pip's own settings of this machine."""
        arguments = ["--isolation=chroot", f"--build-arg=BASE={BASE}", *words]
        command = self.command(
            "build", *arguments, *_pip(self.place), "-t", IMAGE, "-f", CONTAINERFILE, ".", tool="buildah"
        )
        subprocess.run(command, cwd=REPOSITORY, check=True)


def _pip(place: Path) -> list[str]:
    """Mounts for the build: this machine's settings of pip, and the files that they name."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    lines = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed.stdout, re.MULTILINE))
    mounts = []
    for name, value in lines.items():
        for path in map(Path, re.findall(r"(?:file://|(?<![:/\w]))(/[\w./-]+)", value)):
            if path.is_dir():  # an index leads to its neighbours
                place_of_it = path.parent if path.name == "simple" else path
                mounts.append(f"--volume={place_of_it}:{place_of_it}:ro")
            elif path.is_file():  # not in its place: a package of Debian may write there
                mounts.append(f"--volume={path}:/mnt/{len(mounts)}:ro")
                lines[name] = lines[name].replace(str(path), f"/mnt/{len(mounts) - 1}")
    settings = place / "pip.conf"
    settings.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    return [f"--volume={settings}:/etc/pip.conf:ro", *dict.fromkeys(mounts)]
