"""The `modelward` command from end to end against a running house: what it does, says and exits with."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.fakes.answers import KINDS
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import broken_version, clips, good_version

from modelward.daemon.answers.commands import ErrorAnswer
from modelward.daemon.cli.client import RefusedAnswer
from modelward.daemon.errors import Refused

pytestmark = pytest.mark.system

TEXTS = ("/metrics", "/v1/logs/{name}/download")
OLD, NEW, BAD = "dtmf-v1.0", "dtmf-v1.1", "dtmf-v1.2"


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared()
    good_version(house.models, OLD)
    house.start(OLD)
    good_version(house.models, NEW, words=True)
    house.await_serving(NEW)
    broken_version(house.models, "nan_weights", BAD)
    house.await_state(BAD, "rejected")
    return house


@pytest.fixture
def town(shared: House) -> House:
    """dtmf-v1.1 came after dtmf-v1.0 and is live; dtmf-v1.2 is rejected; nothing is held."""
    for name, version in shared.versions().items():
        if version["held"]:
            shared.command("release", version=name)
    if shared.status()["live"] != NEW:
        shared.command("activate", version=NEW)
    shared.await_serving(NEW)
    return shared


def _says(house: House, *words: object) -> str:
    done = house.cli(*words)
    assert done.returncode == 0, done  # what takes a while shows its progress on standard error
    return done.stdout


def _json(house: House, *words: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_says(house, *words, "--json"))
    return answer


def _refuses(house: House, status: int, *words: object) -> str:
    done = house.cli(*words)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert done.stderr.startswith("cannot ")
    return done.stderr


def test_activate_returns_when_it_is_decided(town: House) -> None:
    assert _says(town, "activate", OLD) == f"serving {OLD}\n"
    assert town.serves(OLD)
    assert os.readlink(town.link) == OLD
    assert town.version(NEW)["held"]
    assert _says(town, "activate", OLD) == f"{OLD} is live already\n"


def test_rollback_goes_back_and_holds_what_it_left(town: House) -> None:
    _says(town, "activate", OLD)
    _says(town, "release", NEW)
    town.await_serving(NEW)
    assert _says(town, "rollback") == f"serving {OLD}\n"
    town.command("reload")  # it is not chosen again by itself
    assert town.serves(OLD)
    assert town.transcribe()[1]["result"] == "5551234"
    held = {v["version"]: v["held"] for v in _json(town, "versions")["versions"]}
    assert held[NEW]
    assert not held[OLD]
    _says(town, "release", NEW)
    town.await_serving(NEW)


def test_hold_keeps_a_version_from_being_chosen_and_release_lets_it(town: House) -> None:
    _says(town, "activate", OLD)
    assert _says(town, "hold", NEW) == f"{NEW} is held: it is not chosen automatically\n"
    town.command("reload")
    assert town.serves(OLD)
    assert _says(town, "release", NEW) == f"{NEW} may be chosen again\n"
    town.await_serving(NEW)
    assert "it is not held" in _refuses(town, 1, "release", NEW)


def test_what_the_daemon_will_not_do_exits_1_with_the_reason_and_what_still_serves(town: House) -> None:
    refusal = _refuses(town, 1, "activate", BAD)
    assert refusal.startswith(f"cannot activate {BAD}: it is rejected: ")
    assert "finite" in refusal
    assert refusal.endswith(f"still serving {NEW}\n")
    assert "there is no such version" in _refuses(town, 1, "activate", "dtmf-v9.9")
    assert "there is no such version" in _refuses(town, 1, "hold", "dtmf-v9.9")
    assert "there is no such worker" in _refuses(town, 1, "restart", "w999")
    assert town.serves(NEW)


def test_mistakes_of_usage_exit_2_and_an_absent_daemon_exits_3(town: House) -> None:
    for words in (["activate"], ["explode"], ["versions", "--yaml"], ["history", "-n", "0"], []):
        assert _refuses(town, 2, *words)
    nowhere = town.root / "nowhere.sock"
    for words in (["status"], ["versions"], ["rollback"], ["activate", OLD], ["reload"], ["workers"], ["history"]):
        assert "there is no such socket" in _refuses(town, 3, *words, "--socket", nowhere)
    assert _refuses(town, 3, "status", "--socket", town.root / "run" / "workers.sock")


def test_versions_shows_state_marks_and_the_reason_of_a_refusal(town: House) -> None:
    lines = {line.split()[0]: line for line in _says(town, "versions").splitlines()}
    assert "accepted" in lines[NEW] and "live, serving x2" in lines[NEW]
    assert "accepted" in lines[OLD] and "live" not in lines[OLD]
    assert "rejected" in lines[BAD]
    shown = {v["version"]: v for v in _json(town, "versions")["versions"]}
    assert set(shown) == {OLD, NEW, BAD}
    assert shown[NEW]["live"] and len(shown[NEW]["serving"]) == 2
    assert len({v["digest"] for v in shown.values()}) == 3
    assert [gate["gate"] for gate in shown[BAD]["verdict"]["gates"] if not gate["passed"]] == ["probe"]


def test_status_workers_and_history_tell_people_and_programs_the_same(town: House) -> None:
    status = _json(town, "status")
    workers = {"ready": 2, "total": 2, "wanted": 2, "because": "workers.count"}
    assert (status["live"], status["ready"], status["workers"]) == (NEW, True, workers)
    said = _says(town, "status")
    assert f"live     {NEW}, ready" in said
    assert "workers  2 of 2 ready" in said

    workers = _json(town, "workers")["workers"]
    lines = _says(town, "workers").splitlines()
    for worker in workers:
        assert any(worker["name"] in line and str(worker["pid"]) in line and "ready" in line for line in lines)
        os.kill(worker["pid"], 0)

    history = _json(town, "history", "-n", 3)["history"]
    assert len(history) == 3
    assert len(_says(town, "history", "-n", 3).splitlines()) == 1 + 3
    rejected = [e for e in _json(town, "history", "-n", 500)["history"] if e["kind"] == "rejected"]
    assert {(e["version"], "finite" in e["because"]) for e in rejected} == {
        (BAD, True)
    }  # once more when it was asked for


def test_every_route_answers_as_the_api_describes_it(town: House) -> None:
    (rollout,) = [e["rollout"]["id"] for e in town.history("activated") if e["version"] == NEW][:1]
    known = {"name": "modelward.log", "rollout": rollout}
    asked = {path.format(**known) for method, path in KINDS if method == "GET" and path not in TEXTS}
    for path in asked | {"/v1/disk?progress=1"}:
        assert town.api.get_and_wait(path, lambda: None).status == 200  # and the client compares each answer
    for path, body in {
        "activate": {"version": NEW}, "sweep": {"dry_run": True}, "rotate": {"dry_run": True}, "reload": {},
        "rescan": {}, "alerts/test": {}, "validate": {"version": BAD},
    }.items():  # fmt: skip
        town.command(path, **body)
    assert town.api.post("/v1/rescan").status == 202
    with pytest.raises(RefusedAnswer, match="the panel is off") as refused:
        town.command("panel/link")
    assert msgspec.convert(refused.value.answer.data, ErrorAnswer).error.code == "refused"


def test_restart_replaces_one_worker_or_all_successor_first(town: House) -> None:
    one, other = _json(town, "workers")["workers"]
    with town.load(clients=2) as load:
        _says(town, "restart", one["name"])
        pids = {w["pid"] for w in town.workers()}
        assert other["pid"] in pids and one["pid"] not in pids and len(pids) == 2
        _says(town, "restart")
        assert pids.isdisjoint(w["pid"] for w in town.workers())
        town.await_serving(NEW)
    assert load.failures == []


def test_transcribe_prints_the_text_of_each_file(town: House) -> None:
    url = f"http://127.0.0.1:{town.port}"
    clip = clips()["5551234"]
    assert _says(town, "transcribe", "--url", url, clip) == "five five five one two three four\n"
    notes = town.root / "notes.wav"
    notes.write_text("no audio")
    done = town.cli("transcribe", "--url", url, clip, notes)
    assert done.returncode == 1
    assert "five five five one two three four" in done.stdout
    assert "not WAV, FLAC, OGG, MP3" in done.stderr
    assert "Connection refused" in _refuses(town, 3, "transcribe", "--url", "http://127.0.0.1:1", clip)


def test_validate_needs_no_daemon_and_says_every_gate(town: House) -> None:
    elsewhere = town.root / "elsewhere"
    good = good_version(elsewhere, "dtmf-v5.0")
    bad = broken_version(elsewhere, "tokens_short", "dtmf-v5.1")
    done = town.cli("validate", good, "--config", town.config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("dtmf-v5.0 is accepted")
    assert [line.split()[1] for line in done.stdout.splitlines()[:-1] if line.startswith("ok")][1:3] == [
        "layout",
        "integrity",
    ]
    done = town.cli("validate", bad, "--config", town.config)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot accept dtmf-v5.1: ")
    assert any(line.startswith("FAILED") for line in done.stdout.splitlines())
    told = json.loads(town.cli("validate", bad, "--config", town.config, "--json").stdout)
    assert told["state"] == "rejected"
    assert not told["verdict"]["accepted"]
    assert "dtmf-v5.0" not in town.versions()


def test_activate_validates_first_what_was_not_judged_yet(town: House) -> None:
    good_version(town.models, "dtmf-v0.3")
    eventually(lambda: town.version("dtmf-v0.3"))
    assert _says(town, "activate", "dtmf-v0.3") == "serving dtmf-v0.3\n"
    assert town.version("dtmf-v0.3")["verdict"]["accepted"]
    town.command("activate", version=NEW)
    shutil.rmtree(town.models / "dtmf-v0.3")
    eventually(lambda: not town.version("dtmf-v0.3"))


def test_check_config_says_every_mistake_at_once(town: House) -> None:
    assert town.cli("check-config", town.config).returncode == 0
    wrong = town.root / "wrong.toml"
    wrong.write_text('[models]\nroot = "relative"\nsettle = "soon"\n[workers]\ncuont = 3\n')
    said = _refuses(town, 2, "check-config", wrong)
    assert "3 mistakes" in said
    for key in ("models.root", "models.settle", "workers.cuont"):
        assert key in said
    assert _refuses(town, 2, "run", "--config", wrong) == said


def test_a_rollback_with_nothing_to_go_back_to_is_refused_at_once_whoever_waits(build: Build) -> None:
    house = build(workers={"count": 1})
    good_version(house.models, OLD)
    house.start(OLD)
    sentence = f"cannot roll back: no version served before; still serving {OLD}"
    with pytest.raises(Refused, match=sentence):
        house.api.post("/v1/rollback")
    assert _refuses(house, 1, "rollback") == f"{sentence}\n"


def test_a_version_is_uploaded_judged_and_deleted_again(town: House) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(good_version(Path(elsewhere), "anything"), "anything")
    content, piece, socket = packed.getvalue(), 1 << 16, str(town.root / "run" / "api.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://modelward", timeout=None) as api:
        announced = {"version": "dtmf-v0.5", "kind": "tar", "files": [{"path": "x.tgz", "bytes": len(content)}]}
        upload = api.post("/v1/uploads", json=announced).json()["id"]
        place = f"/v1/uploads/{upload}"
        for offset in range(0, len(content), piece):
            sent = api.put(f"{place}?offset={offset}", content=content[offset : offset + piece])
            assert sent.json() == {"received": min(len(content), offset + piece)}
        assert "dtmf-v0.5" not in town.versions()
        assert api.post(f"{place}/finish").json()["success"]
        town.await_state("dtmf-v0.5", "accepted")
        for version, because in ((NEW, "live"), ("no-such", "no such version")):
            refused = api.post("/v1/delete", json={"version": version})
            assert refused.status_code >= 400 and because in refused.json()["error"]["message"]
        _says(town, "hold", "dtmf-v0.5")
        assert "held" in api.post("/v1/delete", json={"version": "dtmf-v0.5"}).json()["error"]["message"]
        _says(town, "release", "dtmf-v0.5")
        assert api.post("/v1/delete", json={"version": "dtmf-v0.5"}).json()["success"]
        assert "dtmf-v0.5" not in town.versions()
    assert [town.history(kind)[0]["version"] for kind in ("uploaded", "deleted")] == ["dtmf-v0.5"] * 2
