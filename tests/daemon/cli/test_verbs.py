"""Each verb against a fake daemon: what it asks, what it prints, how it ends."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.cli.conftest import Call
from tests.fakes.admin import Asked, FakeAdmin
from tests.support import PATIENCE_SECONDS, eventually

STATUS: dict[str, Any] = {
    "live": "asr-v1.1",
    "ready": True,
    "state": "serving",
    "workers": {"ready": 2, "total": 2},
    "rollout": None,
    "disk": {"used_percent": 62.5, "free_bytes": 5 << 30},
    "alerts": [],
    "version": "0.1.0",
    "pid": 42,
    "uptime_seconds": 4000.0,
    "config": {"path": "/etc/modelward/modelward.toml", "generation": 1, "rejected": ""},
}
WORKER: dict[str, Any] = {
    "name": "w0",
    "pid": 77,
    "state": "serving",
    "serving": "asr-v1.1",
    "attached": False,
    "inflight": 1,
    "requests": 10,
    "errors": 0,
    "p95_seconds": 0.032,
    "rss_bytes": 51 << 20,
}
VERSIONS: list[dict[str, Any]] = [
    {
        "version": "asr-v1.1",
        "digest": "ab",
        "state": "accepted",
        "verdict": {"accepted": True, "because": "every gate passed", "gates": []},
        "bytes": 240 << 20,
        "live": True,
        "held": False,
        "serving": ["w0", "w1"],
        "compiled": {},
        "arrived": "2026-01-01T00:00:00Z",
    },
    {
        "version": "模型-v2",
        "state": "rejected",
        "verdict": {"accepted": False, "because": "NaN\x1b[2J in logits"},
        "held": True,
    },
    {"version": "asr-v3", "state": "settling", "verdict": None, "waiting": "it changed 1 s ago"},
]


def test_status_shows_the_whole_on_one_screen(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/status", STATUS)
    admin.reply("GET", "/v1/workers", {"workers": [WORKER]})
    outcome = ask("status")
    assert outcome.status == 0
    assert outcome.out.splitlines()[:8] == [
        "live     asr-v1.1, ready",
        "workers  2 of 2 ready",
        "rollout  none",
        "disk     62.5% used, 5GiB free",
        "alerts   none",
        "probe    0 passed, 0 failed",
        "config   /etc/modelward/modelward.toml",
        "daemon   0.1.0, pid 42, up 1h6m",
    ]
    assert "w0      77   serving  asr-v1.1  1         10        0       32ms  51MiB" in outcome.out
    assert "\x1b" not in outcome.out


def test_status_says_what_is_wrong(ask: Call, admin: FakeAdmin) -> None:
    wrong = {
        **STATUS,
        "live": "",
        "ready": False,
        "state": "no accepted version",
        "alerts": [{"message": "disk nearly full"}],
        "rollout": {
            "version": "v2",
            "state": "baking",
            "because": "canary",
            "workers": [{"state": "serving"}, {"state": "waiting"}],
        },
        "config": {"path": "/x.toml", "rejected": "models.keep: -1", "environment": ["workers.count", "logs.dir"]},
    }
    admin.reply("GET", "/v1/status", wrong)
    admin.reply("GET", "/v1/workers", {"workers": []})
    out = ask("status").out
    assert "live     no version, no accepted version\n" in out
    assert "rollout  v2: baking (1 serving, 1 waiting): canary\n" in out
    assert "alert    disk nearly full\n" in out
    assert "a change was refused: models.keep: -1" in out
    assert "config   /x.toml\n         from the environment: workers.count, logs.dir\n" in out


@pytest.mark.parametrize(
    ("verb", "path"),
    [("status", "/v1/status"), ("versions", "/v1/versions"), ("workers", "/v1/workers"), ("history", "/v1/history")],
)
def test_json_is_the_daemons_own_untouched(ask: Call, admin: FakeAdmin, verb: str, path: str) -> None:
    raw = '{"b":1,  "a": "\u6a21\\u0041", "n": 1.10}'
    admin.reply("GET", path, raw.encode())
    assert ask(verb, "--json").out == raw + "\n"


def test_workers_shows_no_latency_before_there_are_answers_of_the_version(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/workers", {"workers": [WORKER, WORKER | {"p95_seconds": 0.0}]})
    _, answered, without = ask("workers").out.splitlines()
    assert "32ms" in answered.split()
    assert without.split()[:9] == ["w0", "77", "serving", "asr-v1.1", "1", "10", "0", "-", "51MiB"]


def test_versions_shows_what_is_ignored_for_its_name(ask: Call, admin: FakeAdmin) -> None:
    ignored = [{"name": "-v9\x1b", "because": "its name begins with -, which commands take for an option"}]
    for versions in ([], VERSIONS):
        admin.reply("GET", "/v1/versions", {"versions": versions, "ignored": ignored})
        last = ask("versions").out.splitlines()[-1]
        assert last.startswith("ignored '-v9") and last.endswith(ignored[0]["because"]) and "\x1b" not in last


def test_versions_shows_state_reason_size_age_and_marks(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/versions", {"versions": VERSIONS})
    header, *rows = ask("versions").out.splitlines()
    assert header.split() == ["VERSION", "STATE", "SIZE", "AGE", "MARKS", "BECAUSE"]
    assert rows[0].split()[:3] == ["asr-v1.1", "accepted", "240MiB"]
    assert "live, serving x2" in rows[0]
    assert rows[0].endswith("every gate passed")
    assert rows[1].endswith("held              NaN?[2J in logits")
    assert rows[2].split() == ["asr-v3", "settling", "0B", "-", "-", "it", "changed", "1", "s", "ago"]


def test_says_when_there_is_nothing_to_list(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/versions", {"versions": []})
    admin.reply("GET", "/v1/history", {"history": []})
    assert ask("versions").out == "no version yet: copy a directory under the model root\n"
    assert ask("history").out == "nothing has happened yet\n"


def test_history_reads_downwards_in_time(ask: Call, admin: FakeAdmin) -> None:
    entries = [
        {"id": 2, "time": "2026-01-01T00:00:02Z", "kind": "live", "version": "v1", "because": "rollout done"},
        {"id": 1, "time": "2026-01-01T00:00:01Z", "kind": "accepted", "version": "v1", "because": "every gate passed"},
    ]
    admin.reply("GET", "/v1/history", {"history": entries})
    lines = ask("history", "-n", "2").out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["accepted", "live"]
    assert admin.asked[-1].query == {"n": "2"}


@pytest.mark.parametrize(
    ("argv", "path", "body"),
    [
        (["activate", "v2"], "/v1/activate", {"version": "v2"}),
        (["activate", "v2/"], "/v1/activate", {"version": "v2"}),
        (["rollback"], "/v1/rollback", {}),
        (["hold", "v2"], "/v1/hold", {"version": "v2"}),
        (["release", "v2"], "/v1/release", {"version": "v2"}),
        (["restart"], "/v1/restart", {}),
        (["restart", "w0"], "/v1/restart", {"worker": "w0"}),
    ],
)
def test_a_wish_waits_for_its_decision_and_repeats_it(
    ask: Call, admin: FakeAdmin, argv: list[str], path: str, body: dict[str, str]
) -> None:
    admin.reply("POST", path, {"success": True, "message": "it is so"})
    outcome = ask(*argv)
    assert (outcome.status, outcome.out, outcome.err) == (0, "it is so\n", "")
    assert [(asked.path, asked.query, asked.body) for asked in admin.posts()] == [(path, {"wait": "1"}, body)]


def test_a_wish_that_failed_ends_with_1_and_says_what_serves(ask: Call, admin: FakeAdmin) -> None:
    message = "cannot activate v2: golden set error rate 0.42, at most 0.10; still serving v1"
    admin.reply("POST", "/v1/activate", {"success": False, "message": message, "rollout": "7"})
    outcome = ask("activate", "v2")
    assert (outcome.status, outcome.out, outcome.err) == (1, "", message + "\n")
    outcome = ask("activate", "v2", "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out)["rollout"] == "7"


def test_shows_each_step_of_a_rollout_once_while_it_waits(ask: Call, admin: FakeAdmin) -> None:
    states = ["validating", "preparing", "baking"]
    done = threading.Event()
    looks: list[str] = []

    def status(_asked: Asked) -> tuple[int, Any]:
        looks.append(states[min(len(looks) // 2, 2)])
        if len(looks) >= 6:
            done.set()
        return 200, {**STATUS, "rollout": {"version": "v2", "state": looks[-1], "because": "", "workers": []}}

    def activate(_asked: Asked) -> tuple[int, Any]:
        done.wait(PATIENCE_SECONDS)
        return 200, {"success": True, "message": "v2 is live"}

    admin.replies["GET /v1/status"] = status
    admin.replies["POST /v1/activate"] = activate
    outcome = ask("activate", "v2")
    assert outcome.out == "v2 is live\n"
    assert outcome.err == "v2: validating\nv2: preparing\nv2: baking\n"


def test_reload_shows_what_changed_and_what_waits(ask: Call, admin: FakeAdmin) -> None:
    changes = [
        {"key": "models.keep", "old": "3", "new": "5", "applies": "live"},
        {"key": "workers.threads", "old": "1", "new": "2", "applies": "workers replaced"},
    ]
    admin.reply("POST", "/v1/reload", {"success": True, "message": "configuration 2 is in use", "changes": changes})
    assert ask("reload").out.splitlines() == [
        "models.keep: 3 -> 5",
        "workers.threads: 1 -> 2 (workers are replaced)",
        "configuration 2 is in use",
    ]


def test_reload_says_a_single_mistake_once(ask: Call, admin: FakeAdmin) -> None:
    message = "cannot use /x.toml: a: b; c; the old configuration stays in force"
    admin.reply("POST", "/v1/reload", {"success": False, "message": message, "mistakes": ["a: b; c"]})
    assert ask("reload").err == message + "\n"


def test_reload_shows_every_mistake_that_was_refused(ask: Call, admin: FakeAdmin) -> None:
    body = {
        "success": False,
        "message": "cannot use /x.toml: a: b; c; d: e; f; the old configuration stays in force",
        "changes": [],
        "mistakes": ["a: b; c", "d: e; f"],
    }
    admin.reply("POST", "/v1/reload", body)
    outcome = ask("reload")
    assert outcome.status == 1
    assert outcome.err.splitlines() == [
        "cannot use /x.toml: 2 mistakes; the old configuration stays in force",
        "  a: b; c",
        "  d: e; f",
    ]
    as_json = ask("reload", "--json")
    assert (as_json.status, json.loads(as_json.out)) == (1, body)


def test_watching_goes_on_while_the_daemon_is_away(admin: FakeAdmin, tmp_path: Path) -> None:
    import subprocess
    import sys

    admin.reply("GET", "/v1/status", STATUS)
    admin.reply("GET", "/v1/workers", {"workers": []})
    code = "import sys; from modelward.daemon.cli import main; sys.exit(main(sys.argv[1:]))"
    out = tmp_path / "out"
    with out.open("wb") as file:
        command = [sys.executable, "-c", code, "status", "--watch", "--socket", str(admin.socket_path)]
        process = subprocess.Popen(command, stdout=file)
    try:
        eventually(lambda: "ready" in out.read_text())
        away = admin.socket_path.with_name("away")
        admin.socket_path.rename(away)
        eventually(lambda: "cannot reach the daemon" in out.read_text())
        away.rename(admin.socket_path)
        eventually(lambda: out.read_text().rpartition("cannot reach")[2].count("live ") >= 1)
    finally:
        process.kill()
        process.wait()


def test_check_config_passes_a_good_file(call: Call, tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text("[models]\nkeep = 1\n")
    assert call("check-config", str(good)).out == f"{good} is fine\n"
    assert json.loads(call("check-config", str(good), "--json").out) == {
        "path": str(good),
        "mistakes": [],
        "warnings": [],
        "environment": [],
    }


def test_check_config_warns_of_a_service_that_everybody_may_use(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "open.toml"
    file.write_text('[workers]\nlisten = "0.0.0.0:7860"\n')
    outcome = call("check-config", str(file))
    assert outcome.status == 0 and "warning: workers.listen is 0.0.0.0:7860" in outcome.out
    file.write_text('[workers]\nlisten = "0.0.0.0:7860"\ntoken_file = "/etc/modelward/tokens"\n')
    assert call("check-config", str(file)).out == f"{file} is fine\n"
    file.write_text('[workers]\nlisten = "[::1]:7860"\n')
    assert call("check-config", str(file)).out == f"{file} is fine\n"


def test_check_config_shows_every_mistake_and_ends_with_2(call: Call, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[models]\nkeep = -1\nrot = 2\n")
    outcome = call("check-config", str(bad))
    assert outcome.status == 2
    assert outcome.err.splitlines() == [
        f"cannot use {bad}: 2 mistakes",
        "  models.keep: -1 is out of range; 0 to 10000",
        '  models.rot: no such key; did you mean "root"?',
    ]
    as_json = call("check-config", str(bad), "--json")
    assert (as_json.status, len(json.loads(as_json.out)["mistakes"])) == (2, 2)


def test_run_with_a_bad_configuration_ends_with_2_before_anything_starts(call: Call, tmp_path: Path) -> None:
    outcome = call("check-config", str(tmp_path / "none.toml"))
    assert outcome.status == 2
    assert outcome.err.startswith(f"cannot use {tmp_path}/none.toml: the file: cannot be read: No such file")
