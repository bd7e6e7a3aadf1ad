"""An admin interface with something of everything, for looking at the whole panel."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from tests.fakes.admin_interface import FakeDesk

EVIL = '<img src=x onerror="document.title=`owned`"><script>document.title="owned"</script> & "quotes"'

GOLDEN = "gate golden: error rate 0.42, at most 0.10"
COMPILED = {"form": "exact", "cpu_ratio_5s": 0.31, "load_seconds": 0.4, "load_seconds_original": 3.6}


def moment(seconds_ago: float) -> str:
    """RFC 3339, so many seconds ago."""
    return datetime.fromtimestamp(time.time() - seconds_ago, UTC).isoformat(timespec="milliseconds")


def version(name: str, state: str = "accepted", **more: Any) -> dict[str, Any]:
    gates = [
        {"gate": "layout", "passed": True, "seconds": 0.01, "because": "9 files, 240 MB"},
        {"gate": "sandbox", "passed": True, "seconds": 0.002, "because": "no Landlock here", "warning": True},
        {"gate": "golden", "passed": state != "rejected", "seconds": 2.31, "because": "error rate 0.02 over 12 clips"},
    ]
    because = "all gates passed, 1 warning" if state == "accepted" else GOLDEN
    verdict = {"accepted": state == "accepted", "because": because, "gates": gates}
    shape = {
        "version": name, "digest": "ab" * 32, "state": state, "verdict": verdict if state != "validating" else None,
        "bytes": 251_658_240, "live": False, "held": False, "serving": [],
        "compiled": COMPILED, "arrived": moment(86_400),
    }  # fmt: skip
    return shape | more


def worker(name: str, **more: Any) -> dict[str, Any]:
    shape = {
        "name": name, "pid": 4000 + int(name[1:]), "state": "ready", "serving": "sensevoice-v1.1", "attached": False,
        "inflight": 1, "requests": 18_234, "errors": 3, "p95_seconds": 0.214, "rss_bytes": 301_989_888,
    }  # fmt: skip
    return shape | more


def rollout(**more: Any) -> dict[str, Any]:
    steps = [
        {"time": moment(60), "step": "prepare", "because": "w2 loads sensevoice-v1.1 (canary)", "worker": "w2"},
        {"time": moment(58), "step": "commit", "because": "w2 swap (canary)", "worker": "w2"},
        {"time": moment(57), "step": "baking", "because": "baking", "worker": ""},
    ]
    workers = [{"name": "w1", "state": "old"}, {"name": "w2", "state": "moved"}, {"name": "w3", "state": "old"}]
    shape = {
        "id": "a1b2", "version": "sensevoice-v1.1", "digest": "ab" * 32, "from": "sensevoice-v1.0", "origin": "auto",
        "state": "baking", "because": "sensevoice-v1.1 is the highest accepted version", "began": moment(61),
        "decided": False, "succeeded": False, "workers": workers, "steps": steps,
    }  # fmt: skip
    return shape | more


def hour() -> dict[str, Any]:
    """An hour of figures every ten seconds, with a gap."""
    count = 360
    wave = [abs(i % 90 - 45) / 45 for i in range(count)]

    def line(low: float, high: float) -> list[float | None]:
        return [None if 100 < i < 112 else low + (high - low) * w for i, w in enumerate(wave)]

    return {
        "interval_seconds": 10,
        "times": [moment((count - 1 - i) * 10) for i in range(count)],
        "series": {
            "disk_used_percent": line(61, 64), "memory_used_percent": line(35, 52), "cpu_used_percent": line(12, 93),
            "io_pressure_percent": line(0, 4), "memory_pressure_percent": line(0, 1),
            "requests_per_second": line(4, 31), "errors_per_second": line(0, 0.4),
            "p95_seconds": line(0.12, 0.31), "inflight": line(0, 4),
            "workers_ready": line(3, 3), "workers_resident_bytes": line(9e8, 9.1e8),
        },
    }  # fmt: skip


def longer() -> dict[str, Any]:
    """The same over days."""
    return hour() | {"interval_seconds": 600, "times": [moment((360 - 1 - i) * 1600) for i in range(360)]}


def probed(**more: Any) -> dict[str, Any]:
    """Probes that pass."""
    last = {
        "time": moment(20), "passed": True, "seconds": 0.09, "version": "sensevoice-v1.0", "clip": "en.wav",
        "expected": "hello world", "got": "Hello, world.",
    }  # fmt: skip
    shape = {"off": "", "passed": 1440, "failed": 2, "in_a_row": 0, "because": "", "p95_seconds": 0.12}
    return {**shape, "configured": True, "failing_since": "", "last": last, **more}


def beaten(**more: Any) -> dict[str, Any]:
    """Heartbeats that arrive; one did not."""
    shape = {"failures": 0, "because": "", "failing": False, "seconds_ago": 60.0, "delivered": moment(610)}
    return {**shape, "failed": moment(90_000), "failed_because": "no answer within 10 s", **more}


def busy_desk() -> FakeDesk:
    """Everything at once: an alert, three workers, four versions, a rollout, logs with markup in them."""
    admin = FakeDesk()
    admin.state |= {
        "live": "sensevoice-v1.0", "serving": "sensevoice-v1.0", "version": "0.1.0", "pid": 812,
        "uptime_seconds": 93_784, "workers": {"ready": 3, "total": 3},
        "probe": probed(), "heartbeat": beaten(),
        "link": {"version": "sensevoice-v1.2", "because": f"its state is rejected: {GOLDEN}"},
    }  # fmt: skip
    admin.registry = {"workers": [worker("w1", serving="sensevoice-v1.0"), worker("w2"), worker("w3", attached=True)]}
    admin.shown = {
        "versions": [
            version("sensevoice-v1.0", live=True, serving=["w1", "w3"]),
            version("sensevoice-v1.1", serving=["w2"]),
            version("sensevoice-v0.9", held=True, held_because="rolled back from"),
            version("sensevoice-v1.2", "rejected"),
        ]
    }
    admin.alarms = {
        "alerts": [
            {"name": "disk_used_percent", "subject": "/var", "state": "firing", "severity": "warning", "value": 91.2,
             "since": moment(400), "message": "91 % of the disk under /var is used, at most 90 %"},
            {"name": "worker_restarts", "subject": "", "state": "resolved", "severity": "warning", "value": 0,
             "since": moment(100), "message": "workers no longer end by themselves"},
        ],
        "channels": [{"channel": "mail to ops", "failures": 0, "because": "", "waiting": 0, "delivered": 4}],
        "mutes": [{"name": "cpu_used_percent", "since": moment(60), "until": moment(-7200), "because": "a backup"}],
        "windows": [{"alerts": [], "until": moment(-3600), "because": "quiet hours", "critical": False}],
    }  # fmt: skip
    admin.newest = rollout()
    kinds = ["activated", "accepted", "worker-ended", "alert-firing", "daemon-started"]
    admin.lines = [
        {"id": 900 - i, "time": moment(60.0 * i), "kind": kinds[i % 5], "version": "sensevoice-v1.0",
         "because": f"because {900 - i}", "detail": "x"}
        for i in range(300)
    ]  # fmt: skip
    admin.hour = hour()
    admin.answered = {
        "since": moment(400_000),
        "versions": [
            {"version": "sensevoice-v1.0", "requests": 94_311, "errors": 41, "p50_seconds": 0.09, "p95_seconds": 0.22},
            {"version": "sensevoice-v1.1", "requests": 80, "errors": 0, "p50_seconds": 0.05, "p95_seconds": 0.11},
            {"version": "sensevoice-v0.9", "requests": 3, "errors": 3, "p50_seconds": None, "p95_seconds": None},
        ],
    }  # fmt: skip
    admin.longer = longer()
    admin.space = {
        "classes": [
            {"class": "versions", "path": "/var/lib/modelward/models", "bytes": 1_006_632_960, "files": 24,
             "largest": [{"path": "sensevoice-v1.1/model_quant.onnx", "bytes": 241_216_270}], "note": ""},
            {"class": "compiled", "path": "/var/cache/modelward", "bytes": 503_316_480, "files": 12, "largest": [],
             "note": ""},
            {"class": "logs", "path": "/var/log/modelward", "bytes": 104_857_600, "files": 31, "largest": [],
             "note": ""},
            {"class": "uploads", "path": "/var/lib/modelward/uploads", "bytes": 0, "files": 0, "largest": [],
             "note": "does not exist yet"},
        ],
        "disks": [{"classes": ["versions", "logs"], "total_bytes": 64 << 30, "free_bytes": 6 << 30}],
    }  # fmt: skip
    uploads, old = "/var/lib/modelward/uploads", {"class": "uploads", "because": "older than 24 h"}
    admin.swept = {
        "removed": {"files": 2, "bytes": 3_145_728},
        "listed": [
            {"path": f"{uploads}/a.wav", "bytes": 1_048_576, **old},
            {"path": f"{uploads}/{EVIL}", "bytes": 2_097_152, **old},
        ],
        "classes": [{"class": "logs", "spared": [{"because": "younger than 10 min", "files": 3, "bytes": 900}]}],
        "trouble": [],
    }  # fmt: skip
    path = "/var/log/modelward"
    admin.rotated = {
        "steps": [
            {"action": "rotated", "path": f"{path}/access.log", "archive": f"{path}/access.log.20261122", "bytes": 9000,
             "because": "larger than 100 MiB"},
            {"action": "spared", "path": f"{path}/error.log", "archive": "", "bytes": 0, "because": "not due"},
        ],
        "trouble": [],
    }  # fmt: skip
    admin.log_lines = {
        "modelward.log": [
            '{"time":"2026-11-22T15:16:30.262Z","level":"info","worker":"daemon","event":"accepted","version":"v1"}',
            '{"time":"2026-11-22T15:16:31.262Z","level":"error","worker":"w1","event":"request failed","status":500}',
            EVIL,
        ],
        "access.log": ["GET / 200"],
    }
    return admin


def crowded_desk() -> FakeDesk:
    """Two hundred versions, most of them rejected with an alert each, and a thousand lines of history."""
    admin = busy_desk()
    admin.shown["versions"] += [version(f"sensevoice-v2.{n}", "rejected" if n % 4 else "accepted") for n in range(196)]
    admin.alarms["alerts"] += [
        {"name": "version_rejected", "subject": f"sensevoice-v2.{n}", "state": "firing", "severity": "warning",
         "value": 1, "since": moment(n), "message": f"sensevoice-v2.{n} was rejected: {GOLDEN}"}
        for n in range(50)
    ]  # fmt: skip
    admin.lines = [
        {"id": 2000 - i, "time": moment(60.0 * i), "kind": "rejected", "version": f"sensevoice-v2.{i % 196}",
         "because": "gate golden: error rate 0.42, at most 0.10"}
        for i in range(1050)
    ]  # fmt: skip
    return admin
