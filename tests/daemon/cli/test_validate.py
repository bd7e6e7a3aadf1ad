"""A directory is judged as the daemon would, without one, and nothing of it stays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call
from tests.support import PATIENCE_SECONDS, ended_after, eventually
from tests.versions import broken_version, demo, good_version

pytestmark = pytest.mark.system


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made, to see that none is left."""
    demo()  # is made once and stays for the whole run: not here
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return path


def test_a_good_version_is_accepted_gate_by_gate(call: Call, tmp_path: Path, scratch: Path) -> None:
    version = good_version(tmp_path, "dtmf-v1.0")
    outcome = call("validate", str(version))
    assert (outcome.status, outcome.err) == (0, "")
    *gates, last = outcome.out.splitlines()
    assert [line.split()[1] for line in gates[:3]] == ["sandbox", "layout", "integrity"]
    assert all(line.split()[0] in {"ok", "warning"} for line in gates)
    assert last.startswith("dtmf-v1.0 is accepted")
    assert list(scratch.iterdir()) == []


def test_a_broken_version_is_refused_with_its_gate_and_reason(call: Call, tmp_path: Path, scratch: Path) -> None:
    version = broken_version(tmp_path, "truncated")
    outcome = call("validate", str(version))
    assert outcome.status == 1
    assert "FAILED" in outcome.out
    assert outcome.err.startswith(f"cannot accept {version.name}: ")
    as_json = call("validate", str(version), "--json")
    verdict = json.loads(as_json.out)
    assert (as_json.status, as_json.err) == (1, "")
    assert (verdict["version"], verdict["state"], verdict["verdict"]["accepted"]) == (version.name, "rejected", False)
    assert not verdict["verdict"]["gates"][-1]["passed"]
    assert list(scratch.iterdir()) == []


def test_the_configurations_rules_count(call: Call, tmp_path: Path, scratch: Path) -> None:
    version = good_version(tmp_path, "dtmf-v1.0")
    config = tmp_path / "strict.toml"
    config.write_text('[validation]\nchecksums = "required"\n')
    (tmp_path / "current").symlink_to(version.name)
    outcome = call("validate", f"{tmp_path}/current/", "--config", str(config))
    assert outcome.status == 1
    assert outcome.err.startswith("cannot accept dtmf-v1.0: ") and "SHA256SUMS" in outcome.err


def test_says_what_is_no_version_at_all(call: Call, tmp_path: Path) -> None:
    hidden = tmp_path / ".v1"
    hidden.mkdir()
    for path, says in (
        (tmp_path / "none", "there is no such directory"),
        (hidden, "pass over a directory of that name"),
    ):
        outcome = call("validate", str(path))
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.startswith(f"cannot validate {path}: ")
        assert says in outcome.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_judgement_leaves_nothing(tmp_path: Path, scratch: Path, number: signal.Signals) -> None:
    version = broken_version(tmp_path, "endless_loop")
    code = "import sys; from modelward.daemon.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "validate", str(version)]
    with ended_after(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)) as process:
        assert process.stdout is not None
        eventually(lambda: any(scratch.iterdir()))
        process.stdout.readline()
        process.send_signal(number)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, b"")
    assert list(scratch.iterdir()) == []
