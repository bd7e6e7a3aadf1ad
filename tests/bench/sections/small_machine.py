"""A full-size version on half a processor and 1 GiB of memory: what becomes of it, and how much memory it takes.

Starts a daemon with every key at its default in a control group of its own, on one processor, drops the version in, and
lets two clients ask while it lives. Where no control group can be made the reason is kept.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.clips import pool
from tests.bench.ours import one_file
from tests.bench.plan import Plan
from tests.control_groups import Group, group, missing
from tests.house import House
from tests.support import eventually

QUOTA, MEMORY_MIB = 0.5, 1024
CLIP_SECONDS, QUICK_CLIP_SECONDS, SECONDS, LONGEST_SECONDS = 5.0, 1.0, 60.0, 1800.0
NAME = "full-v1.0"
BAD = ("rejected", "not-judged", "rollout-failed", "worker-ended", "alert-firing")


def measure(plan: Plan) -> dict[str, Any]:
    """{"quota", "memory_mib", "live", "live_seconds", "answers", "failures", "oom_kills", "peak_mib", "bad"}."""
    if because := missing():
        return {"missing": because}
    limits = {"quota": QUOTA, "memory_bytes": MEMORY_MIB << 20}
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as room,
        group("bench", **limits) as small,
    ):
        house = House(Path(room), {"validation": {"compile": "exact"}}, python=plan.python)
        _defaults(house)
        house.prefix = ("taskset", "-c", "0", *small.prefix)
        small.watch()
        try:
            found = _measured(plan, house, small)
        finally:
            house.close()
    print(f"small-machine: {found}", file=sys.stderr, flush=True)
    return {"quota": QUOTA, "memory_mib": MEMORY_MIB, **found}


def _measured(plan: Plan, house: House, small: Group) -> dict[str, Any]:
    clip = pool(QUICK_CLIP_SECONDS if plan.quick else CLIP_SECONDS)[0]
    house.start()
    aside = one_file(house.models / f".{NAME}", plan.model)
    began = time.monotonic()
    aside.rename(house.models / NAME)
    eventually(lambda: _over(house), LONGEST_SECONDS)
    live_seconds = time.monotonic() - began
    with house.load(clients=2, audio=lambda: clip.wav) as load:
        end = time.monotonic() + (1.0 if plan.quick else SECONDS)
        eventually(lambda: time.monotonic() >= end, SECONDS + 60)
    return {
        "live": house.serves(NAME) and house.status()["ready"],
        "live_seconds": live_seconds,
        "workers_because": house.status()["workers"]["because"],
        "answers": sum(load.answers.values()),
        "longest_seconds": max(load.seconds),
        "failures": load.failures[:3],
        "bad": [f"{entry['kind']}: {entry['because']}"[:200] for entry in house.history() if entry["kind"] in BAD],
        "oom_kills": small.oom_kills(),
        "peak_mib": small.peak_bytes >> 20,
        "peak_with_cache_mib": small.most_bytes() >> 20,
    }


def _over(house: House) -> bool:
    """Whether the version is served by all, or will not be."""
    settled = house.serves(NAME) and house.status()["rollout"] is None
    return settled or house.version(NAME).get("state") == "rejected" or bool(house.history("rollout-failed"))


def _defaults(house: House) -> None:
    """Every key at its default but places and the address."""
    text = house.config.read_text(encoding="utf-8")
    kept, section = [], ""
    places = {"control", "models", "logs", "panel"}
    for line in text.splitlines():
        section = line.strip("[]") if line.startswith("[") else section
        key = line.partition(" ")[0]
        if (
            line.startswith("[")
            or key in ("listen", "compile")
            or (section in places and key not in ("settle", "rescan"))
        ):
            kept.append(line)
    house.config.write_text("\n".join(kept) + "\n", encoding="utf-8")
