"""Model roots as machines have them: where the link may be, and volumes as the kubelet projects them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from modelward.daemon.models.link_place import LinkPlace

IN_ROOT = LinkPlace("current", "/nonexistent/current")
"""The link has its usual name, and no other place."""


def project(volume: Path, files: dict[str, bytes]) -> Path:
    """Gives a projected volume this content at once, as the kubelet's AtomicWriter does; its new directory."""
    former = volume / os.readlink(volume / "..data") if (volume / "..data").is_symlink() else None
    content = volume / f"..2026_12_01_07_00_00.{secrets.randbelow(10**9)}"
    for path, data in files.items():
        (content / path).parent.mkdir(parents=True, exist_ok=True)
        (content / path).write_bytes(data)
    (volume / "..data_tmp").symlink_to(content.name)
    (volume / "..data_tmp").rename(volume / "..data")
    names = {path.partition("/")[0] for path in files}
    for name in names:
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")
    for entry in volume.iterdir():
        if entry.name not in names and entry.is_symlink() and str(entry.readlink()).startswith("..data/"):
            entry.unlink()
    for path in sorted(former.rglob("*"), reverse=True) if former else ():
        path.rmdir() if path.is_dir() else path.unlink()
    if former:
        former.rmdir()
    return content
