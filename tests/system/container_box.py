"""A container without a container engine: this machine's root, read-only, in namespaces, as the image is meant to run.

`modelward run` is PID 1, of a user without a name and without rights. Only /mnt (for the image's /data) can be written,
and a tmpfs at /run and /tmp. /dev/shm has no room at all. The network is the machine's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.house import free_port
from tests.support import PATIENCE_SECONDS, ended_after, eventually, modules

from modelward.daemon.cli.client import Client
from modelward.daemon.errors import ModelwardError

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULTS = REPOSITORY / "etc/container/defaults.toml"
UID = 12345
BEGIN = """
set -e
r=$1; data=$2; shift 2
mount --bind / "$r"
mount -t tmpfs -o mode=755 none "$r/root"  # where others may not look, and an interpreter may be
for place in "$PWD" "$PREFIX" "$BASE_PREFIX"; do
  mkdir -p "$r$place"
  mount --bind "$place" "$r$place"
done
mount --bind "$data" "$r/mnt"
mount -o remount,bind,ro "$r"
mount -t tmpfs -o ro,size=4k none /dev/shm
mount --rbind /dev "$r/dev"
for place in run tmp; do mount -t tmpfs -o nosuid,nodev,noexec none "$r/$place"; done
mount -t proc proc "$r/proc"
unset PREFIX BASE_PREFIX
cd /
exec chroot "$r" setpriv --reuid=12345 --regid=12345 --clear-groups \\
  --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
"""
ISOLATED = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private")


def why_not() -> str:
    """Why there can be no container here; "" when there can."""
    if os.geteuid() != 0:
        return "needs root: it makes namespaces and a read-only root"
    if absent := [tool for tool in ("unshare", "chroot", "setpriv") if shutil.which(tool) is None]:
        return f"not installed: {', '.join(absent)}"
    read = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "test", "-r", __file__]
    if subprocess.run(read).returncode:
        return "other users cannot read the repository"
    done = subprocess.run([*ISOLATED, "true"], capture_output=True, text=True)
    return f"needs namespaces: {done.stderr.strip()}" if done.returncode else ""


@dataclass
class ContainerBox:
    """One container; `init` is its PID 1 in our numbers, `out` what it prints."""

    process: subprocess.Popen[bytes]
    init: int
    port: int
    data: Path
    out: Path

    @property
    def api(self) -> Client:
        return Client(f"/proc/{self.init}/root/run/modelward/api.sock")

    def status(self) -> dict[str, Any]:
        """{} while no daemon answers."""
        with contextlib.suppress(ModelwardError):
            return self.api.get("/v1/status").data
        return {}

    def await_serving(self, version: str) -> None:
        def serves() -> bool:
            assert self.process.poll() is None, self.out.read_text()
            found = self.status()
            return bool(found.get("ready")) and found["serving"] == version and found["rollout"] is None

        eventually(serves)

    def ours(self, pid: int) -> int:
        """The number that a child of PID 1 has out here."""
        for child in Path(f"/proc/{self.init}/task/{self.init}/children").read_text().split():
            numbers = Path(f"/proc/{child}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()
            if int(numbers[-1]) == pid:
                return int(child)
        raise AssertionError(f"no child {pid} of PID 1")

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.out.read_text().splitlines() if line.startswith("{")]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as `docker exec` runs it."""
        into = ["nsenter", f"--target={self.init}", "--mount", "--pid", "--root", "--wd", f"--setuid={UID}"]
        return subprocess.run(
            [*into, f"--setgid={UID}", sys.executable, "-m", "modelward.daemon", *words],
            env=_environment({}),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def stop(self) -> int:
        """What `docker stop` sends; the status."""
        os.kill(self.init, signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def container(place: Path, **variables: str) -> Iterator[ContainerBox]:
    """A container for as long as the block runs, with the image's defaults and these variables over them."""
    root, data, port = place / "root", place / "data", free_port()
    root.mkdir()
    (data / "models").mkdir(parents=True, exist_ok=True)
    defaults = data / "defaults.toml"
    defaults.write_text(DEFAULTS.read_text().replace('"/data', '"/mnt'))
    for path in (data, *data.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)
    environment = _environment({"MODELWARD_WORKERS__LISTEN": f"127.0.0.1:{port}", **variables})
    command = [*ISOLATED, "sh", "-c", BEGIN, "sh", str(root), str(data)]
    daemon = [sys.executable, "-m", "modelward.daemon", "run"]
    with open(place / "out", "wb") as out:
        process = subprocess.Popen(
            [*command, *daemon],
            cwd=REPOSITORY,
            env={**environment, "PREFIX": sys.prefix, "BASE_PREFIX": sys.base_prefix},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    with ended_after(process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        init = eventually(lambda: int((children.read_text().split() or ["0"])[0]))
        yield ContainerBox(process, init, port, data, place / "out")


def _environment(variables: dict[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": modules(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/mnt",
        "LANG": "C.UTF-8",
        "MODELWARD_DEFAULTS": "/mnt/defaults.toml",
        **variables,
    }
