"""How long a version takes to eight machines over NATS, beside a bare read of the same object by NATS's own client.

Each machine is a process, all at once, on this machine: both ways have the same server, the same disk and the same
processors, and take turns. Ours also checks every digest and renames the version into its place.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.plan import Plan
from tests.daemon.fleet.records import KEY, record
from tests.fleet_house import NatsServer
from tests.support import modules

from modelward.daemon.fleet import nats_publisher
from modelward.daemon.fleet.manifest import manifest, names, sign_version
from modelward.daemon.fleet.nats_connection import NatsAccess
from modelward.daemon.fleet.nats_engine import NatsEngine
from modelward.daemon.fleet.nats_names import MODELS
from modelward.daemon.fleet.record import encode
from modelward.daemon.system.clock import SystemClock

MEGABYTES, MACHINES, TURNS = 100, 8, 3
QUICK_MEGABYTES, QUICK_MACHINES = 1, 2
BARE = """
import asyncio, sys, nats
from pathlib import Path
async def run():
    client = await nats.connect(sys.argv[1], nkeys_seed=sys.argv[2], inbox_prefix="_INBOX_operator")
    store = await client.jetstream(timeout=60).object_store(sys.argv[4])
    with open(Path(sys.argv[3], "model.onnx"), "wb") as file:
        await store.get("v2-1/model.onnx", writeinto=file)
    await client.close()
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(run())
"""
OURS = """
import asyncio, sys
from pathlib import Path
from modelward.daemon.fleet.fetching import Fetching
from modelward.daemon.fleet.nats_connection import NatsAccess
from modelward.daemon.fleet.nats_engine import NatsEngine
from modelward.daemon.fleet.part_area import PartArea
from modelward.daemon.fleet.record import decode
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.syscalls import rename_noreplace
async def run():
    engine = NatsEngine(NatsAccess((sys.argv[1],), Path(sys.argv[2]).stem, sys.argv[2]), SystemClock())
    area, record = PartArea(Path(sys.argv[3]), rename_noreplace), decode(Path(sys.argv[4]).read_bytes())
    await Fetching(engine, area, record, SystemClock(), max_rate=0, require_room=lambda count: None).run()
    assert area.verify(record.bytes, lambda: False).verified
    area.rename_in("v2")
    await engine.close()
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(run())
"""


def measure(plan: Plan) -> dict[str, Any]:
    """{"megabytes", "machines", "rounds": [{"bare_seconds", "ours_seconds"}]}."""
    if shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        return {"missing": "nats-server is not installed (apt install nats-server)"}
    megabytes, machines = (QUICK_MEGABYTES, QUICK_MACHINES) if plan.quick else (MEGABYTES, MACHINES)
    place, rounds = plan.scratch, []
    server = NatsServer(place / "nats")
    conf = place / "nats/nats.conf"  # the bare client is one that a server with less would cut off
    conf.write_text(conf.read_text().replace("max_pending: 16MB", "max_pending: 256MB"))
    operator = server.admit("operator", "operator")
    seeds = [server.admit(f"shop-{number}") for number in range(machines)]
    server.start()
    try:
        wanted = _published(server, operator, place, megabytes)
        for turn in range(1 if plan.quick else TURNS):
            bare = _turn(BARE, server, [operator] * machines, place / f"bare{turn}", MODELS)
            ours = _turn(OURS, server, seeds, place / f"ours{turn}", str(wanted))
            rounds.append({"bare_seconds": bare, "ours_seconds": ours})
            print(f"fleet: {rounds[-1]}", file=sys.stderr, flush=True)
    finally:
        server.stop()
    return {"megabytes": megabytes, "machines": machines, "rounds": rounds}


def _published(server: NatsServer, operator: Path, place: Path, megabytes: int) -> Path:
    """The file of the record that asks for a version of so many megabytes, which the server has then."""
    version = place / "v2"
    version.mkdir()
    (version / "model.onnx").write_bytes(os.urandom(megabytes << 20))
    sign_version(version, KEY, "timestamp:1")
    files, wanted = manifest(version), place / "wanted"
    what = {"manifest_sha256": files.sha256, "signature_sha256": files.signature_sha256, "bytes": files.bytes}
    wanted.write_bytes(encode(record(**what, sources=(f"object:{MODELS}/v2-1",))))
    asyncio.run(_publish(server, operator, version))
    return wanted


async def _publish(server: NatsServer, operator: Path, version: Path) -> None:
    engine = NatsEngine(NatsAccess((server.url,), "operator", str(operator)), SystemClock())
    await nats_publisher.prepare(engine.connection)
    await nats_publisher.upload(engine.connection, version, names(version), "v2-1", lambda name: None)
    await engine.close()


def _turn(script: str, server: NatsServer, seeds: list[Path], place: Path, last: str) -> float:
    roots = [place / str(number) for number in range(len(seeds))]
    for root in roots:
        root.mkdir(parents=True)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, server.url, str(seed), str(root), last],
            env={**os.environ, "PYTHONPATH": modules()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, root in zip(seeds, roots, strict=True)
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    os.sync()  # what an earlier turn wrote is not waited for in this one
    began = time.monotonic()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.wait(600) for child in children] == [0] * len(seeds)
    return time.monotonic() - began
