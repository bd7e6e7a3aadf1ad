"""A full-size version on half a processor and 1 GiB of memory: what becomes of it, and how much memory it takes.

Starts a daemon with every key at its default in a control group of its own, drops the version in, lets two clients ask
while it lives, and prints what happened. The aims: live, nothing rejected, nothing killed, at most 900 MiB.

    python tests/bench/small_machine.py VERSION_DIR [--quota 0.5] [--memory-mib 1024] [--seconds 120] [--second]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs as a script too

from tests.bench.clips import as_wav
from tests.bench.tones import clip
from tests.control_groups import Group, group, missing
from tests.house import House
from tests.support import eventually

AIM_MIB = 900
CLIP_SECONDS = 5.0
LONGEST_SECONDS = 1800.0
BAD = ("rejected", "not-judged", "rollout-failed", "worker-ended", "alert-firing")


def main() -> int:
    """0 when every aim is met, 1 when one is not, 2 where there are no control groups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path)
    parser.add_argument("--quota", type=float, default=0.5)
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--second", action="store_true", help="then drop a second version while the clients ask")
    parser.add_argument("--compile", default="exact")
    args = parser.parse_args()
    if because := missing():
        print(f"cannot measure: {because}", file=sys.stderr)
        return 2
    limits = {"quota": args.quota, "memory_bytes": args.memory_mib << 20}
    with (
        tempfile.TemporaryDirectory(prefix="small-machine-", dir="/var/tmp") as room,
        group("bench", **limits) as small,
    ):
        house = House(Path(room), {"validation": {"compile": args.compile}})
        house.configure()
        _defaults(house)
        house.prefix = ("taskset", "-c", "0", *small.prefix)
        small.watch()
        try:
            house.start()
            failures = _first(house, args.version, args.seconds)
            if args.second:
                failures += _second(house, args.version)
            return 0 if _met(house, small, failures) else 1
        finally:
            house.close()


def _first(house: House, version: Path, seconds: float) -> list[str]:
    """Drops the version in, then lets clients ask for a while: what failed."""
    _place(house, version, "full-v1.0")
    began = time.monotonic()
    eventually(lambda: _over(house, "full-v1.0"), LONGEST_SECONDS)
    shown = house.version("full-v1.0")
    print(f"{shown['state']} after {time.monotonic() - began:.1f} s: {house.status()['workers']['because']}")
    for gate in (shown["verdict"] or {}).get("gates", ()):
        print(f"  {gate['gate']}: {gate['seconds']:.1f} s, {gate['because']}")
    with house.load(clients=2, audio=_audio) as load:
        end = time.monotonic() + seconds
        eventually(lambda: time.monotonic() >= end, seconds + 60)
    print(f"{sum(load.answers.values())} answers, the longest took {max(load.seconds):.1f} s")
    return load.failures


def _second(house: House, version: Path) -> list[str]:
    """Drops another version in while clients ask: what failed."""
    with house.load(clients=2, audio=_audio) as load:
        _place(house, version, "full-v1.1", "another version")
        began = time.monotonic()
        eventually(lambda: _over(house, "full-v1.1"), LONGEST_SECONDS)
    served = "live" if house.serves("full-v1.1") else "NOT live"
    print(f"the second version: {served} after {time.monotonic() - began:.1f} s")
    return load.failures


def _met(house: House, small: Group, failures: list[str]) -> bool:
    """Whether all aims are met; prints what happened."""
    for entry in reversed(house.history()):
        print(f"  {entry['time']} {entry['kind']} {entry['version']}: {entry['because'][:150]}")
    bad = [entry for entry in house.history() if entry["kind"] in BAD]
    peak = small.peak_bytes >> 20
    print(f"{len(failures)} failures {failures[:3]}; out-of-memory kills {small.oom_kills()}")
    print(f"peak: {peak} MiB, with page cache {small.most_bytes() >> 20} MiB; aim: at most {AIM_MIB} MiB")
    met = house.status()["ready"] and not bad and not failures and not small.oom_kills() and peak <= AIM_MIB
    print("met" if met else "NOT met")
    return bool(met)


def _place(house: House, version: Path, name: str, note: str = "") -> None:
    shutil.copytree(version, house.models / f".{name}")
    if note:
        (house.models / f".{name}" / "notes.txt").write_text(note)
    (house.models / f".{name}").rename(house.models / name)


def _audio() -> bytes:
    return as_wav(clip(CLIP_SECONDS, 1)[0])


def _over(house: House, name: str) -> bool:
    """Whether the version is served by all, or will not be."""
    settled = house.serves(name) and house.status()["rollout"] is None
    return settled or house.version(name).get("state") == "rejected" or bool(house.history("rollout-failed"))


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


if __name__ == "__main__":
    sys.exit(main())
