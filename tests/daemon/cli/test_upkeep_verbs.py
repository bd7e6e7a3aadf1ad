"""disk, sweep, rotate and logs against a fake daemon: what they ask, what they print, how they end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call
from tests.fakes.admin import FakeAdmin

from modelward.daemon.config.load import Config
from modelward.daemon.upkeep.from_config import OWN_LOGS

DISK = {
    "classes": [
        {
            "class": "uploads",
            "path": "/srv/up",
            "bytes": 5 << 30,
            "files": 12,
            "largest": [{"path": "a/", "bytes": 4096}],
        },
        {"class": "tmp", "path": "/srv/tmp", "bytes": 0, "files": 0, "largest": [], "note": "does not exist yet"},
    ],
    "disks": [
        {
            "classes": ["uploads", "tmp"],
            "total_bytes": 10 << 30,
            "free_bytes": 1 << 30,
            "total_inodes": 100,
            "free_inodes": 3,
        }
    ],
    "deleted_open": [{"pid": 77, "path": "/srv/up/gone\x1b[2J", "bytes": 1 << 30}],
}
SWEEP = {
    "dry_run": True,
    "more": True,
    "removed": {"files": 1, "bytes": 4096},
    "listed": [{"path": "/srv/up/old", "bytes": 4096, "class": "uploads", "because": "older than 1d"}],
    "classes": [
        {
            "class": "uploads",
            "removed": [{"because": "older than 1d", "files": 1, "bytes": 4096}],
            "spared": [{"because": "in use by a process", "files": 2, "bytes": 8192}],
            "refused": "",
            "note": "",
        }
    ],
    "trouble": [],
}
ROTATE = {
    "dry_run": False,
    "steps": [
        {"action": "rotated", "path": "/l/a.log", "because": "asked for", "archive": "a.log.2026Z", "bytes": 10},
        {"action": "spared", "path": "/l/b.log", "because": "empty", "archive": "", "bytes": 0},
    ],
    "trouble": [],
}


def test_disk_says_where_the_space_went_what_is_free_and_what_is_deleted_but_open(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/disk", DISK)
    done = ask("disk")
    assert done.status == 0
    assert "5GiB" in done.out and "/srv/tmp (does not exist yet)" in done.out
    assert "free 1GiB of 10GiB: uploads, tmp" in done.out
    assert "only 3 of 100 inodes are free" in done.out
    assert "deleted but open: 1GiB, /srv/up/gone" in done.out
    assert "\x1b" not in done.out


def test_sweep_prints_each_path_its_size_and_because(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("POST", "/v1/sweep", SWEEP)
    done = ask("sweep", "--dry-run")
    assert admin.posts()[0].body == {"dry_run": True}
    assert "4KiB  /srv/up/old: older than 1d" in done.out
    assert "uploads: spared 2 (8KiB): in use by a process" in done.out
    assert "would remove 1 file, 4KiB" in done.out
    assert "more is due" in done.out
    assert done.status == 0


def test_sweep_ends_with_1_when_what_had_to_go_could_not(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("POST", "/v1/sweep", {**SWEEP, "trouble": ["cannot bring uploads under 5GiB: …"]})
    done = ask("sweep")
    assert done.status == 1
    assert done.err == "cannot bring uploads under 5GiB: …\n"


@pytest.mark.parametrize("verb", ["sweep", "rotate"])
def test_a_refusal_is_printed(ask: Call, admin: FakeAdmin, verb: str) -> None:
    admin.reply("POST", f"/v1/{verb}", {"error": {"message": "cannot do that: it is busy"}}, status=409)
    done = ask(verb)
    assert (done.status, done.out, done.err) == (1, "", "cannot do that: it is busy\n")


def test_rotate_says_what_was_done_and_what_was_left(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("POST", "/v1/rotate", ROTATE)
    done = ask("rotate", "--force", "access")
    assert admin.posts()[0].body == {"dry_run": False, "force": True, "file": "access"}
    assert done.out.splitlines() == [
        "/l/a.log: rotated to a.log.2026Z, 10B: asked for",
        "/l/b.log: left, empty",
    ]
    assert done.status == 0


def test_rotate_ends_with_1_when_something_could_not_be_rotated(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("POST", "/v1/rotate", {**ROTATE, "trouble": ["cannot rotate in /l: every user may write to it"]})
    assert ask("rotate").status == 1


def test_logs_shows_the_end_of_a_log_with_nothing_that_steers_a_terminal(
    ask: Call, admin: FakeAdmin, tmp_path: Path
) -> None:
    log = tmp_path / "modelward.log"
    log.write_text("one\ntwo\nthree \x1b[2J\x07\n")
    admin.reply("GET", "/v1/logs", {"logs": [{"name": "modelward.log", "path": str(log), "bytes": 9}]})
    done = ask("logs", "-n", "2")
    assert done.out == "two\nthree ?[2J?\n"
    assert "no log of that name; there are: modelward.log" in ask("logs", "../secret").err
    assert ask("logs", "-n", "-1").status == 2


def test_logs_can_be_read_when_the_daemon_is_down(call: Call, tmp_path: Path) -> None:
    (tmp_path / "error.log").write_text("why it went down\n")
    config = tmp_path / "modelward.toml"
    config.write_text(f'[logs]\ndir = "{tmp_path}"\n')
    done = call("logs", "error", "--config", str(config), "--socket", str(tmp_path / "nobody.sock"))
    assert (done.status, done.out) == (0, "why it went down\n")
    listed = call("logs", "--list", "--config", str(config), "--socket", str(tmp_path / "nobody.sock"))
    assert "error.log" in listed.out


def test_logs_of_a_time_come_from_archives_too_and_as_json_on_request(call: Call, tmp_path: Path) -> None:
    packed = tmp_path / "a.log.20260103T000000.000000Z.gz"
    packed.write_bytes(gzip.compress(b'{"time":"2026-01-01T00:00:00Z","n":1}\n{"time":"2026-01-02T08:00:00Z","n":2}\n'))
    (tmp_path / "a.log").write_text("2026-01-04 00:00:00 text\n  its second line\n")
    config = tmp_path / "modelward.toml"
    config.write_text(f'[logs]\ndir = "{tmp_path}/ours"\n[[logs.extra]]\npath = "{tmp_path}/*.log"\n')
    beside = ("--config", str(config), "--socket", str(tmp_path / "nobody.sock"))
    done = call("logs", "a", "--since", "2026-01-02", "--json", *beside)
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"time": "2026-01-02T08:00:00Z", "n": 2},
        {"log": "a", "line": "2026-01-04 00:00:00 text"},
        {"log": "a", "line": "  its second line"},
    ]
    assert call("logs", "a", "--since", "2026-01-02", "-n", "1", *beside).out == "  its second line\n"
    refused = call("logs", "a", "--since", "yesterday", *beside)
    assert (refused.status, refused.out) == (2, "") and '"yesterday": 2h, 7d' in refused.err
    assert json.loads(call("logs", "--list", "--json", *beside).out) == [{"name": "a.log", "path": f"{tmp_path}/a.log"}]


def test_logs_says_that_the_daemon_is_not_there_when_no_log_is_either(call: Call, tmp_path: Path) -> None:
    if any((Config().logs.dir / name).exists() for name in OWN_LOGS):
        pytest.skip("modelward runs on this machine, and its logs are where they would be looked for")
    done = call("logs", "--socket", str(tmp_path / "nobody.sock"))
    assert done.status == 3
    assert done.err.startswith(f"cannot reach the daemon at {tmp_path}/nobody.sock: ")
