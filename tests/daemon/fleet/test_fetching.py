"""Fetching a version from a directory: killed at ten moments it goes on, and what was not promised is not kept."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.fakes.certificates import server_context
from tests.fakes.https_site import served
from tests.small_disk import run_on_small_disk
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon.fleet.engine import EngineAway
from modelward.daemon.fleet.engines import web_engine
from modelward.daemon.fleet.fetching import WRITE_BYTES, Fetching, WrongBytes
from modelward.daemon.fleet.file_engine import FileEngine
from modelward.daemon.fleet.manifest import manifest, sign_version
from modelward.daemon.fleet.part_area import PartArea
from modelward.daemon.fleet.record import FleetRecord, encode
from modelward.daemon.names import FLEET_PART
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.syscalls import rename_noreplace

from .records import KEY, record

SCRIPT = """
import asyncio, os, signal, sys
from pathlib import Path
from modelward.daemon.fleet.fetching import Fetching
from modelward.daemon.fleet.file_engine import FileEngine
from modelward.daemon.fleet.part_area import PartArea
from modelward.daemon.fleet.record import decode
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.syscalls import rename_noreplace

class Dying(PartArea):
    writes = 0
    def write(self, name, offset, data, *, last):
        Dying.writes += 1
        if Dying.writes == int(sys.argv[3]):
            super().write(name, offset, data[: len(data) // 2], last=False)
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(name, offset, data, last=last)

async def run():
    area = Dying(Path(sys.argv[1]), rename_noreplace)
    record = decode(Path(sys.argv[2], "wanted").read_bytes())
    engine = FileEngine(Path(sys.argv[2], "record.json"))
    await Fetching(engine, area, record, SystemClock(), max_rate=0, require_room=lambda count: None).run()
    print(area.verify(record.bytes, lambda: False).verified)

try:
    asyncio.run(run())
except OSError as e:
    print(e.strerror)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    version = site / "v2"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(os.urandom(9 * WRITE_BYTES + 1))
    (version / "tokens.txt").write_bytes(b"a b c")
    (version / "none").write_bytes(b"")
    sign_version(version, KEY, "timestamp:1")
    (site / "wanted").write_bytes(encode(wanted(site)))
    return site


def wanted(site: Path) -> FleetRecord:
    files = manifest(site / "v2")
    return record(
        manifest_sha256=files.sha256, signature_sha256=files.signature_sha256, bytes=files.bytes, sources=("v2",)
    )


def fetch(site: Path, root: Path, what: FleetRecord, *, max_rate: int = 0) -> PartArea:
    area = PartArea(root, rename_noreplace)
    engine = FileEngine(site / "record.json")
    asyncio.run(Fetching(engine, area, what, SystemClock(), max_rate=max_rate, require_room=lambda count: None).run())
    return area


def test_killed_at_ten_moments_it_goes_on_and_nothing_is_half_visible(site: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    root.mkdir()
    there = 0
    for moment in range(1, 11):
        child = [sys.executable, "-c", SCRIPT, str(root), str(site), str(moment if moment < 4 else 4)]
        done = subprocess.run(child, env={**os.environ, "PYTHONPATH": modules()}, timeout=PATIENCE_SECONDS)
        assert done.returncode == -9
        assert [path.name for path in root.iterdir()] == [FLEET_PART]
        found = PartArea(root, rename_noreplace).seen()
        assert found is not None and found.bytes >= there
        there = found.bytes
    area = fetch(site, root, wanted(site))
    assert area.verify(wanted(site).bytes, lambda: False).verified
    area.rename_in("v2")
    names = sorted(path.name for path in (site / "v2").iterdir())
    assert [(root / "v2" / name).read_bytes() for name in names] == [
        (site / "v2" / name).read_bytes() for name in names
    ]


def test_another_list_than_was_signed_is_not_kept_and_counted(site: Path, tmp_path: Path) -> None:
    what = wanted(site)
    (site / "v2/SHA256SUMS").write_bytes(b"0" * 64 + b"  model.onnx\n")
    with pytest.raises(WrongBytes):
        fetch(site, tmp_path, what)
    found = PartArea(tmp_path, rename_noreplace).seen()
    assert found is not None and (found.wrong, found.bytes, found.complete) == (1, 0, False)


def test_more_bytes_than_were_promised_are_not_written(site: Path, tmp_path: Path) -> None:
    what = wanted(site)
    with open(site / "v2/tokens.txt", "ab") as file:
        file.truncate(64 << 20)
    with pytest.raises(WrongBytes):
        fetch(site, tmp_path, what)
    found = PartArea(tmp_path, rename_noreplace).seen()
    assert found is not None and found.bytes <= what.bytes


def test_the_next_source_has_its_turn(site: Path, tmp_path: Path) -> None:
    what = wanted(site)
    two = replace(what, sources=("none", "v2"))
    assert fetch(site, tmp_path, two).verify(what.bytes, lambda: False).verified
    with pytest.raises(EngineAway):
        fetch(site, tmp_path / "other", record(manifest_sha256="0" * 64, sources=("none",)))


def test_a_version_comes_with_the_signature_that_was_published(site: Path, tmp_path: Path) -> None:
    what, signature = wanted(site), site / "v2/SHA256SUMS.minisig"
    good = signature.read_bytes()
    signature.unlink()
    with pytest.raises(EngineAway):
        fetch(site, tmp_path, what)
    signature.write_bytes(good.replace(b"timestamp:1", b"timestamp:2"))
    with pytest.raises(WrongBytes):
        fetch(site, tmp_path, what)
    signature.write_bytes(good)
    area = fetch(site, tmp_path, what)
    assert area.verify(what.bytes, lambda: False).verified
    area.rename_in("v2")
    assert (tmp_path / "v2/SHA256SUMS.minisig").read_bytes() == good


def test_a_full_disk_is_reported_and_what_came_stays(site: Path, tmp_path: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    code = "import sys; sys.argv[1:] = sys.argv[1:2] + " + repr([str(site), "0"]) + "\n" + SCRIPT
    code += "\nprint(area.seen().bytes) if (area := PartArea(Path(sys.argv[1]), rename_noreplace)) else None\n"
    said, there = run_on_small_disk(root, code, size="5m").split("\n")[:2]
    assert said == "No space left on device" and 3 * WRITE_BYTES < int(there) < 5 * WRITE_BYTES


def test_an_https_source_is_fetched_whatever_carries_the_record(site: Path, tmp_path: Path) -> None:
    tls, authority = server_context(tmp_path)
    area, elsewhere = PartArea(tmp_path, rename_noreplace), FileEngine(tmp_path / "without files/record.json")
    with served(site, tls) as web:
        for sources in ((f"{web.url}v2",), ("object:models/v2", f"{web.url}v2"), (f"{web.url}v9", f"{web.url}v2")):
            what = replace(wanted(site), sources=sources)
            found = web_engine(elsewhere, str(authority), SystemClock())
            fetching = Fetching(
                elsewhere, area, what, SystemClock(), web=found, max_rate=0, require_room=lambda count: None
            )
            asyncio.run(fetching.run())
            assert area.verify(what.bytes, lambda: False).verified
            area.discard()
    found = web_engine(elsewhere, str(authority), SystemClock())
    assert web_engine(found, "", SystemClock()) is found  # the one that has the token of the record's server
