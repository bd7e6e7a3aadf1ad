"""A newcomer's first minutes: `make newcomer` types the blocks of README.md in a bare Debian 12, as an ordinary user.

The root (Python, make, curl) is made once in ~/.cache; all that is written lies over it in memory. Packages come from
where this machine's pip has them. `MODEL=DIR` serves that version in place of the demo's. Where tools or rights are
missing the run is skipped and the reason printed. It prints how long each command took.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.documents import ROOT, VERSION, blocks
from tests.versions import clips, good_version

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelward" / "newcomer"
PACKAGES: Final = "make,python3,python3-venv,ca-certificates,curl"
HERE: Final = "make newcomer"
"""Stands in the remark of a block that runs here alone."""
HOME: Final = "/home/newcomer"
MODEL: Final = f"{HOME}/.cache/modelscope/hub/models/iic/SenseVoiceSmall-onnx"

# In a mount namespace of its own; $1 is an empty directory, $2 the bare root, $3 the newcomer's home, $4 the steps.
# pivot_root in place of chroot, in which no sandbox can be made.
INSIDE: Final = """
set -e
box=$1 bare=$2 home=$3 steps=$4; shift 4
mount -t tmpfs tmpfs "$box"; mkdir "$box/up" "$box/work" "$box/root"; r=$box/root
mount -t overlay overlay -o "lowerdir=$bare,upperdir=$box/up,workdir=$box/work" "$r"
mount --rbind /dev "$r/dev"; mount --rbind /sys "$r/sys"; mount -t tmpfs tmpfs "$r/tmp"; chmod 1777 "$r/tmp"
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do cp -L "$file" "$r$file"; done
for place; do
  if [ -d "$place" ]; then mkdir -p "$r$place"; else mkdir -p "$r${place%/*}"; : >> "$r$place"; fi
  mount --bind "$place" "$r$place"
done
echo "newcomer:x:1000:1000::/home/newcomer:/bin/bash" >> "$r/etc/passwd"; echo "newcomer:x:1000:" >> "$r/etc/group"
cp -a "$home" "$r/home/newcomer"; chown -R 1000:1000 "$r/home/newcomer"
exec unshare --pid --fork --kill-child bash -c '
  mount -t proc proc "$0/proc"; cd "$0"; mkdir old; pivot_root . old; umount -l /old; cd /home/newcomer
  exec setpriv --reuid=1000 --regid=1000 --clear-groups python3 src/tests/newcomer/walk.py' "$r" < "$steps"
"""


def missing() -> str:
    """Why nothing can be run here, "" when all is there."""
    if os.geteuid() != 0:
        return "mounts need root"
    if absent := [t for t in ("mmdebstrap", "unshare", "setpriv", "pivot_root") if shutil.which(t) is None]:
        return f"not installed: {', '.join(absent)} (apt-get install mmdebstrap util-linux)"
    return ""


def debian() -> Path:
    """A minimal Debian 12, made aside and renamed when it is whole."""
    root, aside = CACHE / "bookworm", CACHE / ".bookworm"
    if not root.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        words = ["--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(aside)]
        subprocess.run(["mmdebstrap", *words], check=True)
        aside.rename(root)
    return root


def home(directory: Path, model: Path | None) -> None:
    """What the newcomer has: a clone, a model that was downloaded, and what the README's examples name."""
    listed = subprocess.run(
        ["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        (directory / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, directory / "src" / name, follow_symlinks=False)
    downloaded = directory / Path(MODEL).relative_to(HOME)
    downloaded.parent.mkdir(parents=True)
    shutil.copytree(model, downloaded) if model else good_version(downloaded.parent, downloaded.name)
    work = directory / "work"
    good_version(work, VERSION)
    good_version(work, "new-version", words=True)
    (work / "models").symlink_to(f"{HOME}/.local/share/modelward/models")
    (work / "clips").mkdir()
    shutil.copy(clips()["5551234"], work / "clips")


def steps() -> Iterator[dict[str, Any]]:
    """The commands of the README in order. The last one of a block may stay in the foreground."""
    for block in blocks("README.md"):
        here = HERE in block.remark
        if block.language != "sh" or (block.not_run and not here):
            continue
        until = block.remark.removeprefix("until: ") if block.remark.startswith("until: ") else ""
        lines = [line for line in block.text.splitlines() if line.strip()]
        clone = here or "make " in block.text
        for line in lines:
            serves = " serve " in line
            yield {
                "command": line,
                "directory": f"{HOME}/src" if clone else f"{HOME}/work",
                "until": (until or ("Ctrl-C" if serves else "")) if line == lines[-1] else "",
                "first": serves,
            }
            if serves:  # the version that later blocks go back to
                yield {"command": f"cp -r {VERSION} models/", "directory": f"{HOME}/work", "until": "", "first": False}


def pip_settings() -> dict[str, str]:
    """Where this machine's pip has its packages from, as an environment."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        scope, _, name = key.partition(".")
        if scope in ("global", "install"):
            found.setdefault(f"PIP_{name.upper().replace('-', '_')}", value.strip("'").replace("\\n", " "))
    return found


def main() -> int:
    """0 when every command worked, or the run was skipped."""
    if why := missing():
        print(f"skipped: {why}")
        return 0
    model, bare, settings = os.environ.get("MODEL"), debian(), pip_settings()
    words = [word.removeprefix("file://") for value in settings.values() for word in value.split()]
    found = [Path(word) for word in words if word.startswith("/") and Path(word).exists()]
    places = sorted({str(p if p.is_file() else Path(*p.parts[:3])) for p in found})  # an index and what it leads to
    with tempfile.TemporaryDirectory(prefix="modelward-newcomer-") as name:
        base = Path(name)
        (base / "box").mkdir()
        (base / "home").mkdir()
        home(base / "home", Path(model) if model else None)
        (base / "steps").write_text(json.dumps(list(steps())))
        words = [str(base / "box"), str(bare), str(base / "home"), str(base / "steps"), *places]
        environment = {
            "PATH": f"{HOME}/modelward/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": HOME,
            "LANG": "C.UTF-8",
            **settings,
        }
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", INSIDE, "bash", *words],
            env={**environment, "PATH": f"{environment['PATH']}:/usr/sbin:/sbin"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            show(json.loads(line))
        return process.wait()


def show(line: dict[str, Any]) -> None:
    """One line of a command, or how it ended."""
    if "printed" in line:
        print(f"{line['seconds']:7.1f} s  | {line['printed']}", flush=True)
        return
    how = "" if line["status"] == 0 else f"  FAILED with {line['status']}\n{line.get('output', '')}"
    print(f"{line['seconds']:7.1f} s  $ {line['command']}{how}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
