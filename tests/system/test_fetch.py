"""`modelward fetch` as it is used: killed at any moment nothing half shows, and the next one continues."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.daemon.fetch.conftest import FILES, TAKEN
from tests.fakes.model_hub import COMMIT, ModelHub, model_hub
from tests.house import House
from tests.support import PATIENCE_SECONDS, ended_after, eventually, modules
from tests.versions import good_version

pytestmark = pytest.mark.system

RESOLVE = f"/iic/S/resolve/{COMMIT}/"
MODEL = FILES["model_quant.onnx"]
KILLED_AT_A_CHANGE = """
import os, signal, sys
wanted, name, left = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
def change(event, args):
    global left
    if event == wanted and name in str(args):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(change)
from modelward.daemon.cli import main
sys.exit(main())
"""


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with model_hub(FILES) as found:
        yield found


@contextmanager
def command(
    hub: ModelHub, root: Path, *words: str, how: tuple[str, ...] = ("-m", "modelward.daemon")
) -> Iterator[subprocess.Popen[str]]:
    """The command, with a hub of this machine and no daemon."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": modules(),
        "HF_ENDPOINT": hub.url,
        "MODELWARD_SOCKET": str(root / "none.sock"),
        "LANG": "C.UTF-8",
    }
    given = [sys.executable, *how, "fetch", "hf:iic/S", "--plain", "--to", str(root), *words]
    pipe = subprocess.PIPE
    with ended_after(subprocess.Popen(given, env=environment, stdout=pipe, stderr=pipe, text=True)) as process:
        yield process


def finished(hub: ModelHub, root: Path, *words: str) -> str:
    with command(hub, root, *words) as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, err
        return out


def visible(root: Path) -> list[str]:
    return [name for name in os.listdir(root) if not name.startswith(".")]


def sizes_of_parts(root: Path) -> list[int]:
    return [part.stat().st_size for part in root.glob(".fetch-*/parts/*.part")]


def content(version: Path) -> dict[str, bytes]:
    return {str(path.relative_to(version)): path.read_bytes() for path in version.rglob("*") if path.is_file()}


def require_whole(version: Path) -> None:
    there = content(version)
    sums = there.pop("SHA256SUMS").decode().splitlines()[1:]
    assert there == {path: FILES[path] for path in TAKEN}
    assert sums == [f"{hashlib.sha256(there[path]).hexdigest()}  {path}" for path in sorted(there)]


def test_killed_at_ten_moments_nothing_half_shows_and_it_continues(hub: ModelHub, tmp_path: Path) -> None:
    moments = [
        ("/api/models/iic/S/revision/main", "before"),
        (f"/api/models/iic/S/tree/{COMMIT}", "before"),
        (RESOLVE + "README.md", "before"),
        (RESOLVE + "README.md", "held"),
        (RESOLVE + "golden/a.txt", "held"),
        *[(RESOLVE + "model_quant.onnx", "held")] * 4,
        (RESOLVE + "tokens.json", "held"),
    ]
    came = 0
    for number, (path, fault) in enumerate(moments, 1):
        hub.faults[path] = [fault]
        with command(hub, tmp_path) as process:
            eventually(lambda number=number: hub.held == number or process.poll() is not None)  # type: ignore[misc]
            if path.endswith("model_quant.onnx"):
                came += (len(MODEL) - came) // 2
                eventually(lambda came=came: came in sizes_of_parts(tmp_path))  # type: ignore[misc]
            process.kill()
        assert process.returncode == -9 and visible(tmp_path) == []
    hub.requests.clear()
    assert finished(hub, tmp_path).startswith("S-20240927 is in ")
    assert [url.removeprefix(RESOLVE) for _, url, _ in hub.requests if RESOLVE in url] == ["tokens.json"]
    assert os.listdir(tmp_path) == ["S-20240927"]
    require_whole(tmp_path / "S-20240927")


def test_killed_while_it_is_put_into_place_it_shows_whole_or_not_at_all(hub: ModelHub, tmp_path: Path) -> None:
    """At changes of the disk, in their order: each command gets further than the one before."""
    entries = len(TAKEN) + 3  # the list of checksums, golden and the version itself
    changes = [
        ("os.rename", "tokens.json", 1, False),
        ("open", "SHA256SUMS", 1, False),
        ("os.chmod", "", 1, False),
        ("os.chmod", "", entries, False),
        ("shutil.rmtree", "", 1, True),
    ]
    for event, name, number, shows in changes:
        with command(hub, tmp_path, how=("-c", KILLED_AT_A_CHANGE, event, name, str(number))) as process:
            process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, visible(tmp_path)) == (-9, ["S-20240927"] if shows else []), (event, number)
    require_whole(tmp_path / "S-20240927")
    assert "already; nothing was fetched" in finished(hub, tmp_path)
    assert os.listdir(tmp_path) == ["S-20240927"]
    require_whole(tmp_path / "S-20240927")


def test_a_second_command_is_refused_and_an_interrupted_one_says_what_helps(hub: ModelHub, tmp_path: Path) -> None:
    hub.faults[RESOLVE + "model_quant.onnx"] = ["held"]
    with command(hub, tmp_path) as first:
        eventually(lambda: hub.held == 1)
        with command(hub, tmp_path) as second:
            _, err = second.communicate(timeout=PATIENCE_SECONDS)
        assert second.returncode == 1 and err == "cannot fetch S-20240927: another command is fetching it now\n"
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 130 and visible(tmp_path) == []
    assert err.endswith("stopped; what came is kept for a week, and the same command continues\n")


def test_what_is_fetched_is_validated_and_activated(hub: ModelHub, house: House, tmp_path: Path) -> None:
    version = good_version(tmp_path / "published", "dtmf-v1.1", words=True)
    hub.files = {str(path.relative_to(version)): path.read_bytes() for path in version.rglob("*") if path.is_file()}
    done = house.cli("fetch", f"{hub.url}/files/", "--as", "dtmf-v1.1", "--activate")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "serving dtmf-v1.1"), done
    assert house.transcribe()[2] == "dtmf-v1.1"
    assert (house.models / "dtmf-v1.1/SHA256SUMS").exists()
