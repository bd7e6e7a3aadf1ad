"""A program of somebody else's joins over the worker socket and is reloaded like a worker of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.house import House, clip, free_port
from tests.support import PATIENCE_SECONDS, eventually, modules
from tests.versions import good_version

from modelward.worker.attach import attach

EXAMPLE = Path(__file__).parents[2] / "etc" / "examples" / "flask_attach.py"


def _attached(house: House) -> dict[str, object]:
    return next((w for w in house.workers() if w["attached"]), {})


def _socket(house: House) -> str:
    return str(house.root / "run" / "workers.sock")


@pytest.mark.system
def test_the_flask_example_is_reloaded_with_the_others_and_loses_no_request(house: House) -> None:
    port = free_port()
    flask = subprocess.Popen(
        [sys.executable, str(EXAMPLE), _socket(house), str(port)],
        env={**os.environ, "PYTHONPATH": modules()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask() -> tuple[str, str]:
        url = f"http://127.0.0.1:{port}/recognize"
        with urllib.request.urlopen(
            urllib.request.Request(url, clip(), method="POST"), timeout=PATIENCE_SECONDS
        ) as answer:
            text = answer.read().decode()
            return ("digits" if "5551234" in text else "words" if "five" in text else "?"), text

    def up() -> bool:
        try:
            return ask()[0] == "digits"
        except OSError:
            return False

    try:
        eventually(up)
        assert _attached(house)["name"] == "flask"
        assert _attached(house)["serving"] == "dtmf-v1.0"
        good_version(house.models, "dtmf-v1.1", words=True)
        seen = []
        eventually(lambda: seen.append(ask()[0]) or seen[-1] == "words")
        assert set(seen) == {"digits", "words"}
        house.await_serving("dtmf-v1.1")
        assert eventually(lambda: _attached(house)["requests"])
    finally:
        flask.terminate()
        flask.wait(PATIENCE_SECONDS)
    eventually(lambda: not _attached(house))
    assert house.serves("dtmf-v1.1")


@pytest.mark.system
def test_a_program_that_refuses_a_version_keeps_it_from_everybody(house: House) -> None:
    def load(artifact: str, version: str) -> str:
        if version == "dtmf-v1.1":
            raise RuntimeError("not with me")
        return artifact

    ward = attach(load, name="picky", socket=_socket(house))
    try:
        assert ward.wait(PATIENCE_SECONDS)
        eventually(lambda: _attached(house).get("serving") == "dtmf-v1.0")
        good_version(house.models, "dtmf-v1.1", words=True)
        refused = house.await_state("dtmf-v1.1", "rejected")
        assert "worker picky refused it: RuntimeError: not with me" in refused["verdict"]["because"]
        house.await_serving("dtmf-v1.0")
        assert ward.version == "dtmf-v1.0"
    finally:
        ward.close()


@pytest.mark.system
def test_a_program_that_holds_one_model_at_a_time_loads_at_the_swap(house: House) -> None:
    loaded: list[str] = []
    ward = attach(
        lambda artifact, version: loaded.append(version) or version, name="small", socket=_socket(house), aside=False
    )
    try:
        assert ward.wait(PATIENCE_SECONDS)
        good_version(house.models, "dtmf-v1.1", words=True)
        eventually(lambda: ward.version == "dtmf-v1.1")
        assert loaded == ["dtmf-v1.0", "dtmf-v1.1"]
        with ward.request() as model:
            assert model == "dtmf-v1.1"
    finally:
        ward.close()


@pytest.mark.system
def test_it_serves_on_while_the_daemon_is_away_and_does_not_reload_when_it_returns(house: House) -> None:
    loaded: list[str] = []
    ward = attach(lambda artifact, version: loaded.append(version) or version, name="loyal", socket=_socket(house))
    try:
        assert ward.wait(PATIENCE_SECONDS)
        house.kill()
        assert ward.version == "dtmf-v1.0"
        house.start()
        eventually(lambda: _attached(house).get("serving") == "dtmf-v1.0")
        assert loaded == ["dtmf-v1.0"]
    finally:
        ward.close()


def test_without_a_daemon_nothing_is_loaded_and_nothing_breaks(tmp_path: Path) -> None:
    ward = attach(lambda artifact, version: version, name="alone", socket=str(tmp_path / "none.sock"))
    assert not ward.wait(0.3)
    assert ward.model is None
    with pytest.raises(LookupError, match="no version is loaded"), ward.request():
        pass
    ward.close()


@pytest.mark.system
def test_its_log_is_renamed_it_is_told_and_no_line_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "webui.log"
    house = House(tmp_path, {"logs": {"extra": [{"path": str(log), "method": "reopen", "compress": "none"}]}})
    writer = [log.open("a")]

    def reopen() -> None:
        writer.append(log.open("a"))
        writer.pop(0).close()

    house.start()
    ward = attach(lambda artifact, version: artifact, name="webui", socket=_socket(house), on_reopen=reopen)
    try:
        eventually(lambda: _attached(house))
        print("before", file=writer[0], flush=True)
        house.command("rotate", force=True, file=str(log))
        eventually(lambda: writer[0].fileno() >= 0 and os.fstat(writer[0].fileno()).st_ino == log.stat().st_ino)
        print("after", file=writer[0], flush=True)
        assert log.read_text() == "after\n"
        assert [archive.read_text() for archive in tmp_path.glob("webui.log.*")] == ["before\n"]
    finally:
        ward.close()
        writer[0].close()
        house.close()
