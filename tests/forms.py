"""Compiled forms of a house under test: where they lie, which one the workers map, waiting until one serves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually


def artifacts(house: House) -> list[Path]:
    """Every finished directory in the artifact root."""
    root = house.root / "cache" / "compiled"
    return sorted(p for p in root.iterdir() if not p.name.startswith("."))


def described(artifact: Path) -> dict[str, Any]:
    """Its description."""
    found: dict[str, Any] = json.loads((artifact / "artifact.json").read_text())
    return found


def mapped(house: House) -> set[str]:
    """Files of compiled forms that all workers have mapped."""
    everywhere: list[set[str]] = []
    for worker in house.workers():
        names = {line.split(maxsplit=5)[-1] for line in Path(f"/proc/{worker['pid']}/maps").read_text().splitlines()}
        everywhere.append({name for name in names if "/compiled/model" in name})
    return set.intersection(*everywhere) if everywhere else set()


def await_form(house: House, version: str, seconds: float = PATIENCE_SECONDS) -> Path:
    """The directory of the rewritten form, once every worker maps it and nothing is compiled any more."""

    def found() -> Path | None:
        told = house.version(version).get("compiled", {})
        if told.get("form") not in ("exact", "fast") or "compiling" in told or house.status()["rollout"]:
            return None
        try:
            known = {p: described(p) for p in artifacts(house)}
        except FileNotFoundError:
            return None  # a form was replaced by a better one meanwhile
        ours = [p for p, each in known.items() if each["version"] == version and each["compiled_model"]]
        used = [p for p in ours if any(name.startswith(f"{p}/") for name in mapped(house))]
        return used[0] if used else None

    form = eventually(found, seconds)
    assert form is not None
    return form


def compilers(house: House) -> list[int]:
    """Process ids of the compilers at work for this house: its daemon's children that are no workers."""
    assert house.process is not None
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == house.process.pid and b"modelward.worker.compile" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def bytes_once(root: Path) -> tuple[int, int]:
    """Bytes of the files below `root`: each inode once, and each name."""
    found = [path.stat() for path in root.rglob("*") if path.is_file()]
    once = {(s.st_dev, s.st_ino): s.st_size for s in found}
    return sum(once.values()), sum(s.st_size for s in found)


def rewrite_description(artifact: Path, **fields: object) -> None:
    """Changes the description of an artifact, as a damaged disk or another machine would."""
    description = artifact / "artifact.json"
    was = json.loads(description.read_text())
    aside = artifact.with_name(f".{artifact.name}.json")
    aside.write_text(json.dumps({**was, **fields}))
    aside.chmod(0o440)
    os.replace(aside, description)
