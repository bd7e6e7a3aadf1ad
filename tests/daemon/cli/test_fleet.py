"""A key, a signed version and a record, from the commands to what a machine reads."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call
from tests.support import PATIENCE_SECONDS

from modelward.daemon.fleet.file_engine import FileEngine
from modelward.daemon.fleet.record import FleetRecord, FleetWave
from modelward.daemon.fleet.signature import open_record
from modelward.worker.shared.minisign import parse_key
from modelward.worker.shared.signed_fields import read_fields


@pytest.fixture
def key(call: Call, tmp_path: Path) -> Path:
    path = tmp_path / "fleet.key"
    assert call("fleet", "keygen", "--key", str(path)).status == 0
    return path


@pytest.fixture
def version(tmp_path: Path) -> Path:
    path = tmp_path / "stick/models/v 2"
    path.mkdir(parents=True)
    (path / "model.onnx").write_bytes(b"model")
    return path


def read(place: Path, key: Path) -> FleetRecord:
    text = asyncio.run(FileEngine(place).record())
    return open_record(text, [parse_key(key.with_name("fleet.key.pub").read_text())]).record


def test_a_key_is_made_once_for_its_owner_alone(call: Call, key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = call("fleet", "keygen", "--key", str(key))
    assert (again.status, again.err) == (1, f"cannot make a key: {key} is there already\n")
    made = call("fleet", "keygen", "--key", f"{key}2")
    assert made.out.splitlines()[-1].startswith('public_keys = ["RW')
    assert key.read_bytes().splitlines()[1].decode() not in made.out


def test_a_version_is_signed_with_a_number_and_an_end(call: Call, key: Path, version: Path) -> None:
    signed = call("sign", str(version), "--key", str(key), "--sequence", "7", "--expires", "2127-01-01T00:00:00Z")
    assert (signed.status, signed.err) == (0, "")
    assert "1 file, modelward sequence=7 expires=2127-01-01T00:00:00Z" in signed.out
    comment = (version / "SHA256SUMS.minisig").read_text().splitlines()[2].removeprefix("trusted comment: ")
    assert read_fields(comment).sequence == 7
    assert call("sign", str(version), "--key", str(key), "--sequence", "8", "--expires", "30d").status == 0


@pytest.mark.parametrize(
    ("options", "status", "because"),
    [
        (["--expires", "30d"], 2, "--expires needs --sequence"),
        (["--sequence", "-1"], 2, "no sequence from 1"),
        (["--sequence", "1", "--expires", "soon"], 2, "no duration"),
        (["--sequence", "1", "--expires", "2027-02-30"], 2, "not a time"),
        (["--sequence", "1", "--expires", "0s"], 2, "--expires '0s' is not later than now"),
        (["--sequence", "1", "--expires", "2020-01-01T00:00:00Z"], 2, "is not later than now"),
        (["--sequence", "1", "--expires", "9999999999d"], 2, "after the year 9999"),
        (["--sequence", "1", "--expires", f"{'9' * 30}d"], 2, "after the year 9999"),
    ],
)
def test_options_that_cannot_be_are_refused(
    call: Call, key: Path, version: Path, options: list[str], status: int, because: str
) -> None:
    outcome = call("sign", str(version), "--key", str(key), *options)
    assert (outcome.status, because in outcome.err) == (status, True), outcome.err
    assert [p.name for p in version.iterdir()] == ["model.onnx"]


def test_each_command_names_what_it_cannot_do(call: Call, key: Path, version: Path) -> None:
    (version / "link").symlink_to("model.onnx")
    assert call("sign", str(version), "--key", str(key)).err.startswith(f"cannot sign {version}: 'link' is")
    published = call(
        "fleet", "publish", str(version), "--key", str(key), "--to", str(version.parents[1] / "record.json")
    )
    assert published.err.startswith(f"cannot publish {version}: 'link' is")


def test_a_record_is_published_beside_its_version_and_numbers_rise(call: Call, key: Path, version: Path) -> None:
    place = version.parents[1] / "record.json"
    words = ("fleet", "publish", str(version), "--key", str(key), "--to", str(place))
    assert "modelward sign" in call(*words).err
    call("sign", str(version), "--key", str(key), "--sequence", "1")
    first = call(*words, "--waves", "canary,25%,100%", "--success", "95%", "--pause", "30m", "--window", "0 22 * * *")
    assert (first.status, first.err) == (0, "")
    record = read(place, key)
    assert (record.sequence, record.version, record.sources) == (1, "v 2", ("models/v 2",))
    assert [(w.labels, w.percent, w.success_percent, w.pause) for w in record.waves] == [
        (("canary",), 0.0, 95.0, 1800), ((), 25.0, 95.0, 1800), ((), 100.0, 95.0, 1800),
    ]  # fmt: skip
    held = call(*words, "--hold", "--source", "https://a.example/models/v2")
    assert held.out.startswith("record 2 wants v 2")
    assert (read(place, key).hold, read(place, key).waves) == (True, (FleetWave(percent=100.0, pause=3600),))
    assert json.loads(place.read_text()).keys() == {"record", "signature"}


def test_what_no_machine_could_follow_is_not_published(call: Call, key: Path, version: Path, tmp_path: Path) -> None:
    call("sign", str(version), "--key", str(key))
    place = tmp_path / "elsewhere/record.json"
    place.parent.mkdir()
    words = ("fleet", "publish", str(version), "--key", str(key), "--to", str(place))
    assert "does not lie below" in call(*words).err
    source = ("--source", "https://a.example/v2")
    assert "no wave" in call(*words, *source, "--waves", "x%").err
    assert "no duration" in call(*words, *source, "--pause", "long").err
    assert call("fleet", "publish", "--key", str(key)).status == 2
    place.write_text("{}")
    assert "cannot be read" in call(*words, *source).err
    assert place.read_text() == "{}"
    assert "no secret key" in call("sign", str(version), "--key", f"{key}.pub").err


@pytest.mark.system
def test_a_daemon_without_a_fleet_loads_nothing_of_it() -> None:
    code = (
        "import sys, modelward.daemon.supervisor, modelward.daemon.cli.program\n"
        "print([n for n in sys.modules if 'daemon.fleet' in n or 'minisign' in n or n.startswith('cryptography')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert done.stdout.strip() == "[]"
