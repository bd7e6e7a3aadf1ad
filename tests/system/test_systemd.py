"""The service under a real systemd: started, reloaded, restarted, killed, hung, broken, upgraded, stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import article
from tests.house import clip
from tests.support import eventually
from tests.system.systemd_box import (
    PREFIX,
    Box,
    Service,
    hook,
    wheel,
    why_not,
)
from tests.versions import broken_version, good_version, masked_version

REASON = why_not()
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(REASON), reason=REASON),
]
QUICK = "[Service]\nWatchdogSec=6\nTimeoutAbortSec=1\n"
"""A watchdog that a test can wait for."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    package = wheel(tmp_path_factory.mktemp("wheel"))
    box = Box.boot()
    try:
        box.install_package(package)
        yield box
    finally:
        box.close()


@pytest.fixture(scope="module")
def installed(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Installed, started on an empty model root, given the demo's model."""
    said = box.run(["modelward", "install"])
    assert "wrote: /etc/systemd/system/modelward.service" in said
    service = Service(box)
    drop_in = box.path("/etc/systemd/system/modelward.service.d/quick.conf")
    drop_in.parent.mkdir()
    drop_in.write_text(QUICK)
    box.run(["systemctl", "daemon-reload"])
    service.configure()
    box.run(["systemctl", "start", "modelward"])
    assert service.state == "active"
    status, text = service.ask("/health")  # a worker answers as soon as the service counts as started
    assert (status, service.show("StatusText")["StatusText"][:21]) == (503, "nothing is served yet"), text
    service.drop(good_version(tmp_path_factory.mktemp("models"), "dtmf-v1.0"))
    eventually(lambda: service.serves("dtmf-v1.0"))
    return service


@pytest.fixture
def service(installed: Service) -> Service:
    installed.ready()
    return installed


def test_the_units_are_faultless_and_tight(installed: Service) -> None:
    units = ["modelward.service", "modelward.socket", "modelward@7861.service", "modelward@7861.socket"]
    assert installed.box.call(["systemd-analyze", "verify", *units]) == (0, "")
    for unit in ("modelward.service", "modelward@.service"):
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", f"/etc/systemd/system/{unit}"]
        status, text = installed.box.call(command)
        assert status == 0, text.splitlines()[-1]


def test_install_can_be_run_again_and_keeps_what_is_the_operators(service: Service) -> None:
    config = service.box.path("/etc/modelward/modelward.toml").read_bytes()
    said = service.box.run(["modelward", "install", "--now"])
    assert "wrote" not in said
    assert "kept: /etc/modelward/modelward.toml is yours" in said
    assert service.box.path("/etc/modelward/modelward.toml").read_bytes() == config
    assert service.serves("dtmf-v1.0")


def test_install_refuses_a_place_that_the_service_cannot_read(service: Service) -> None:
    box = service.box
    box.run(["/opt/python/bin/python3", "-m", "venv", "--without-pip", "/root/private"])
    there = box.path("/root/private")
    site = next((there / "lib").glob("python*")) / "site-packages"
    (site / "all.pth").write_text(f"{PREFIX}/lib/{site.parent.name}/site-packages\n/opt/deps\n")
    shutil.copy(box.path(f"{PREFIX}/bin/modelward"), there / "bin")
    status, said = box.call(["/root/private/bin/python", "-m", "modelward.daemon", "install"])
    assert (status, "can't read /root/private/bin/modelward" in said) == (1, True), said


def _named(service: Service, name: str) -> dict[str, Any]:
    return next((v for v in service.api.get("/v1/versions").data["versions"] if v["version"] == name), {})


def test_a_model_is_judged_under_the_sandbox_with_nothing_missing(service: Service, tmp_path: Path) -> None:
    assert service.ask("/api/predict", clip())[0] == 200
    service.drop(broken_version(tmp_path, "nan_weights", "dtmf-v0.9"))

    eventually(lambda: _named(service, "dtmf-v0.9").get("state") == "rejected")
    service.drop(masked_version(tmp_path, "dtmf-v0.8"))
    eventually(lambda: _named(service, "dtmf-v0.8").get("state") == "accepted")
    service.box.run(["modelward", "activate", "dtmf-v0.8"])  # forms are made of what serves
    # made, proved and kept without leaving the sandbox
    eventually(lambda: _named(service, "dtmf-v0.8")["compiled"].get("form") == "exact")
    service.box.run(["modelward", "activate", "dtmf-v1.0"])
    for version in service.api.get("/v1/versions").data["versions"]:
        sandbox = next(g for g in version["verdict"]["gates"] if g["gate"] == "sandbox")
        assert "not taken away" not in sandbox["because"]
        assert "not given up" not in sandbox["because"]
        assert "Operation not permitted" not in sandbox["because"]
    assert service.serves("dtmf-v1.0")


def test_a_start_counts_only_when_workers_answer_with_the_model(service: Service) -> None:
    service.box.run(["systemctl", "stop", "modelward"])
    service.box.run(["systemctl", "start", "modelward"])
    assert service.ask("/ready")[0] == 200
    assert service.show("StatusText")["StatusText"].startswith("serving dtmf-v1.0")


def test_reload_waits_for_the_outcome_and_fails_with_it(service: Service) -> None:
    before = service.show("MainPID", "NRestarts"), service.worker_pids()
    service.configure("[workers]\ncount = 2\ndrain = 4\n")
    assert service.box.systemctl("reload", "modelward")[0] == 0
    config = service.box.path("/etc/modelward/modelward.toml")
    usual = config.read_text()
    for text, mode, reason in (("[models]\nsettel = 1\n", 0o644, "settel"), (usual, 0o600, "cannot be read")):
        config.write_text(text)
        config.chmod(mode)
        assert service.box.systemctl("reload", "modelward")[0] != 0
        assert reason in service.show("StatusText")["StatusText"]
        assert reason in service.box.said().splitlines()[-1]
        assert service.state == "active"
    config.chmod(0o644)
    service.signal(signal.SIGHUP)
    eventually(lambda: "refused" not in service.show("StatusText")["StatusText"])
    assert (service.show("MainPID", "NRestarts"), service.worker_pids()) == before


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_a_token_file_holds_when_systemctl_returns(service: Service, verb: str) -> None:
    tokens = service.box.path("/etc/modelward/tokens")
    tokens.write_text("secret\n")
    assert {service.ask("/v1/models")[0] for _ in range(8)} == {200}
    service.configure('[workers]\ncount = 2\ndrain = 4\ntoken_file = "/etc/modelward/tokens"\n')
    try:
        assert service.box.systemctl(verb, "modelward")[0] == 0
        assert {service.ask("/v1/models")[0] for _ in range(8)} == {401}
        # The workers were confined before that directory was named: they are replaced, and no request gets in.
        eventually(lambda: not service.api.get("/v1/status").data["pending"])
        assert {service.ask("/v1/models")[0] for _ in range(8)} == {401}
    finally:
        service.configure("[workers]\ncount = 2\ndrain = 4\n")
        assert service.box.systemctl("reload", "modelward")[0] == 0
    assert {service.ask("/v1/models")[0] for _ in range(8)} == {200}


def test_a_key_that_waits_for_a_new_daemon_is_said_with_the_command_until_there_is_one(service: Service) -> None:
    usual = "[workers]\ncount = 2\ndrain = 4\n"
    service.configure(usual + '[logs]\ndir = "/var/log/modelward/other"\n')
    said = "logs.dir waits for a new daemon: systemctl restart modelward.service"
    try:
        assert service.box.systemctl("reload", "modelward")[0] == 0
        assert said in service.show("StatusText")["StatusText"]
        assert f"pending  {said}" in service.box.run(["modelward", "status"])
        assert service.box.systemctl("restart", "modelward")[0] == 0
        assert said not in service.box.run(["modelward", "status"])
        eventually(
            lambda: "logs.dir" not in service.box.run(["modelward", "status"])
        )  # the workers are replaced for it
    finally:
        service.configure(usual)
        assert service.box.systemctl("restart", "modelward")[0] == 0


def test_alerts_reach_an_address_that_was_handed_over_as_a_credential(service: Service) -> None:
    credentials = service.box.path("/etc/credstore")
    credentials.mkdir(mode=0o700, exist_ok=True)
    (credentials / "modelward.alerts").write_text("json://127.0.0.1:9099/hook\n")
    service.box.run(["systemctl", "restart", "modelward"])
    with hook(service.box.init, 9099) as bodies:
        assert "arrived" in service.box.run(["modelward", "alerts", "test"])
        eventually(lambda: bodies)
    (credentials / "modelward.alerts").unlink()
    service.box.run(["systemctl", "restart", "modelward"])
    eventually(lambda: service.serves("dtmf-v1.0"))


def test_restart_under_load_refuses_no_connection_and_keeps_the_workers(service: Service) -> None:
    main, workers = service.main_pid, service.worker_pids()
    with service.load(keep_alive=True) as load:
        service.box.run(["systemctl", "restart", "modelward"])
        assert service.main_pid != main
        eventually(lambda: service.serves("dtmf-v1.0"))
    assert load.failures == []
    assert service.worker_pids() == workers


def test_a_killed_daemon_comes_back_to_the_same_workers_and_no_request_fails(service: Service) -> None:
    main, workers = service.main_pid, service.worker_pids()
    with service.load() as load:
        service.signal(signal.SIGKILL)
        eventually(lambda: service.main_pid not in (0, main) and service.state == "active")
        eventually(lambda: service.serves("dtmf-v1.0"))
    assert load.failures == []
    assert service.worker_pids() == workers


def test_a_hung_daemon_is_replaced_by_the_watchdog_while_workers_serve(service: Service) -> None:
    main, workers = service.main_pid, service.worker_pids()
    with service.load(clients=1) as load:
        service.signal(signal.SIGSTOP)
        eventually(lambda: service.main_pid not in (0, main) and service.state == "active")
        eventually(lambda: service.serves("dtmf-v1.0"))
    assert load.failures == []
    assert service.worker_pids() == workers


def test_a_crash_loop_never_ends_for_good_and_workers_serve_meanwhile(service: Service) -> None:
    workers, restarts = service.worker_pids(), service.restarts
    with service.load(clients=1) as load:
        service.box.path("/etc/modelward/modelward.toml").write_text("this is no configuration")
        service.signal(signal.SIGKILL)
        # by default systemd gives up at the fifth start within ten seconds
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 20 and service.restarts > restarts + 5)
        assert service.state != "failed"
        service.configure()
        eventually(lambda: service.state == "active")
        eventually(lambda: service.serves("dtmf-v1.0"))
    assert load.failures == []
    assert service.worker_pids() == workers


def test_an_upgrade_replaces_the_workers_one_at_a_time_and_no_request_fails(service: Service) -> None:
    main, workers = service.main_pid, service.worker_pids()
    metadata = next(service.box.path(f"{PREFIX}/lib").glob("python*/site-packages/modelward-*.dist-info/METADATA"))
    text = metadata.read_text()
    with service.load() as load:
        metadata.write_text(text.replace("\nVersion: ", "\nVersion: 99.", 1))
        assert service.api.get("/v1/status").data["version"][:3] != "99."  # it still is what it was when it started
        service.box.run(["systemctl", "restart", "modelward"])
        assert service.main_pid != main
        eventually(lambda: not workers & service.worker_pids() and service.serves("dtmf-v1.0"))
    assert load.failures == []
    assert service.api.get("/v1/status").data["version"].startswith("99.")
    assert _one_at_a_time(service, workers)


def _one_at_a_time(service: Service, former: set[int]) -> bool:
    """Whether a second worker of the former ones was sent away only when a successor of the first was at work."""
    text = service.box.path("/var/log/modelward/modelward.log").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    last_start = max(i for i, e in enumerate(events) if e["event"].startswith("listening on"))
    story = [e["event"] for e in events[last_start:] if e["event"] in ("serving", "worker retires")]
    return len(former) == 2 and story[:4] == ["serving", "worker retires", "serving", "worker retires"]


def test_a_second_model_runs_beside_the_first(service: Service, tmp_path: Path) -> None:
    box = service.box
    there = "/var/lib/modelward-7861"
    box.path("/etc/modelward/7861.toml").write_text(
        f'[models]\nroot = "{there}/models"\nsettle = 0.3\n[workers]\ncount = 1\n[panel]\nlisten = ""\n'
        f'[control]\nruntime_dir = "/run/modelward-7861"\nstate_dir = "{there}"\n'
        'cache_dir = "/var/cache/modelward-7861"\n'
        '[logs]\ndir = "/var/log/modelward-7861"\n'
    )
    second = Service(box, "modelward@7861.service", 7861)
    box.run(["systemctl", "start", second.unit])
    assert second.ask("/health")[0] == 503
    assert service.ask("/health")[0] == 200
    box.run(["systemctl", "stop", second.unit])
    assert second.pids() == set()
    assert service.serves("dtmf-v1.0")


def test_the_panel_knows_operators_of_the_machine_from_other_users_under_the_sandbox(service: Service) -> None:
    config = service.box.path("/etc/modelward/modelward.toml")
    config.write_text(config.read_text().replace('listen = ""', 'listen = "127.0.0.1:5000"'))
    service.box.run(["systemctl", "restart", "modelward"])
    link = service.box.run(["modelward", "panel"])
    assert link.startswith("http://127.0.0.1:5000/#login=") and "/var/lib/modelward/panel.token" in link
    token = service.box.path("/var/lib/modelward/panel.token").stat()
    assert token.st_mode & 0o777 == 0o640 and token.st_uid == token.st_gid != 0
    ask = (
        "import encodings.idna, os, socket, sys\n"
        "os.setgroups([]), os.setgid(int(sys.argv[1])), os.setuid(int(sys.argv[1]))\n"
        "client = socket.create_connection(('127.0.0.1', 5000), 20)\n"
        "client.sendall(b'GET /v1/status HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\n"
        "print(client.recv(12).decode()[-3:])\n"
    )
    for uid, status in ((0, "200"), (token.st_uid, "200"), (61_003, "401")):
        assert service.box.run(["/opt/python/bin/python3", "-c", ask, str(uid)]).strip() == status
    service.configure()
    service.box.run(["systemctl", "restart", "modelward"])
    service.ready()


def test_the_articles_scripts_as_they_stand_there_do_the_service_no_harm(service: Service, tmp_path: Path) -> None:
    """Its update script needs one other line: /root is closed to the service, so the models are not there."""
    box, main, workers = service.box, service.main_pid, {w["pid"] for w in service.workers()}
    article.place(box.root, "")
    box.path("/root/ai-models").mkdir()
    box.run(["ln", "-s", "/var/lib/modelward/models", article.MODELS])
    box.path("/root/validate_model.py").write_text(article.OUR_CHECK)
    service.drop(good_version(tmp_path, article.NEW))
    eventually(lambda: _named(service, article.NEW).get("state") == "accepted")
    box.run(["modelward", "activate", article.NEW])
    with service.load(1) as load:
        for command in (article.USAGE, article.BY_AGE, article.COMPRESS, article.CACHE, article.CRON.split()[-1]):
            assert box.call(["bash", "-c", command])[0] == 0, command
        for program in ("monitor_sensevoice.sh", "update_model.sh"):
            assert box.call([f"/root/{program}"])[0] == 0
        assert "清理结束于" in box.path(f"{article.PROJECT}/logs/cleanup.log").read_text()
        # The script's link leads where the service may not read: it is put back.
        eventually(lambda: os.readlink(service.models / "current") == article.NEW)
        update = box.path("/root/update_model.sh")
        update.write_text(update.read_text().replace(f'"{article.MODELS}"', "/var/lib/modelward/models"))
        for program in ("update_model.sh", "test_hot_update.sh"):
            status, said = box.call([f"/root/{program}"])
            assert (status, '"success":true' in said) == (0, True), said
        assert service.serves(article.NEW)
    assert load.failures == []
    assert (service.main_pid, {w["pid"] for w in service.workers()}) == (main, workers)
    box.run(["modelward", "activate", "dtmf-v1.0"])


def _firing(service: Service) -> list[str]:
    return [a["message"] for a in service.api.get("/v1/alerts").data["alerts"] if a["state"] == "firing"]


def test_the_articles_logrotate_and_panel_do_the_service_no_harm_and_an_alert_tells_what_they_spoil(
    service: Service,
) -> None:
    """Both call `supervisorctl`, which has nothing to restart here. `create 644 root root` makes a log of root's."""
    box, main, workers = service.box, service.main_pid, {w["pid"] for w in service.workers()}
    article.place(box.root, "")
    logs, config = Path("/var/log/modelward"), "/etc/logrotate.d/sensevoice"
    box.run(["rm", "-rf", f"{article.PROJECT}/logs"])
    box.run(["ln", "-s", str(logs), f"{article.PROJECT}/logs"])
    rotate = ["logrotate", "-f", "-s", "/root/logrotate.state", config]
    for name in ("sensevoice", "sensevoice-size"):
        assert "skipping" in box.call([*rotate[:-1], f"/etc/logrotate.d/{name}"])[1]  # as it stands there
    text = box.path(config).read_text()
    box.path(config).write_text(re.sub(r" +# .*", "", text))
    with service.load(1) as load:
        assert "error running" in box.call(rotate)[1]  # its postrotate
        trouble = f"cannot write {logs}/modelward.log: Permission denied; lines go to the file that had this name"
        eventually(lambda: any(trouble in message for message in _firing(service)))
        box.run(["modelward", "hold", "dtmf-v1.0"])
        box.run(["modelward", "release", "dtmf-v1.0"])
        box.run(["sh", "-c", f"chown modelward:modelward {logs}/*.log"])
        panel = [f"{PREFIX}/bin/python", "/root/ops_panel.py"]
        box.run(["systemd-run", "--unit=ops-panel", "--collect", *panel])
        page = Service(box, port=5000)
        eventually(lambda: page.ask("/")[0] == 200)
        for path, status in (("/api/restart-service", (200, 500)), ("/api/cleanup-disk", (200,))):
            assert page.ask(path)[0] in status
        box.run(["systemctl", "stop", "ops-panel"])
    assert load.failures == []
    assert (service.main_pid, {w["pid"] for w in service.workers()}) == (main, workers)


def test_our_log_is_in_the_journal_with_its_fields_where_it_is_forwarded(service: Service) -> None:
    service.configure('[logs]\nforward = "journald"\n[workers]\ncount = 2\ndrain = 5\n')
    service.box.run(["modelward", "reload"])
    service.box.run(["modelward", "validate", "dtmf-v1.0", "--again"])
    fields = ["MODELWARD_EVENT=accepted", "MODELWARD_VERSION=dtmf-v1.0", "SYSLOG_IDENTIFIER=modelward", "PRIORITY=6"]
    command = ["journalctl", "-o", "json", "-n", "1", "--no-pager", *fields]
    entry = json.loads(eventually(lambda: service.box.call(command)[1]))
    assert entry["_SYSTEMD_UNIT"] == "modelward.service" and entry["MESSAGE"].startswith("accepted ")
    assert service.ask("/api/predict", clip())[0] == 200
    sent = ["journalctl", "-n", "1", "--no-pager", "-q", "MODELWARD_LOG=access", "MODELWARD_PATH=/api/predict"]
    eventually(lambda: service.box.call(sent)[1])
    service.configure()
    service.box.run(["modelward", "reload"])


def test_stop_ends_everything_and_the_next_connection_starts_nothing(service: Service) -> None:
    service.box.run(["systemctl", "stop", "modelward"])
    assert service.pids() == set()
    eventually(lambda: Service(service.box, "modelward.socket").state == "inactive")
    assert service.ask("/health")[0] == 0
    assert service.state == "inactive"


def test_a_stop_that_meets_a_dead_daemon_ends_its_workers_too(service: Service) -> None:
    service.signal(signal.SIGKILL)
    service.box.run(["systemctl", "stop", "modelward"])
    assert service.pids() == set()
    assert service.state in ("inactive", "failed")
    eventually(lambda: Service(service.box, "modelward.socket").state == "inactive")


def test_uninstall_takes_the_units_away_and_leaves_the_data(service: Service) -> None:
    said = service.box.run(["modelward", "uninstall"])
    assert "removed: /etc/systemd/system/modelward.service" in said
    assert service.show("LoadState", "ActiveState") == {"LoadState": "not-found", "ActiveState": "inactive"}
    assert (service.models / "dtmf-v1.0").is_dir()
    assert service.box.path("/etc/modelward/modelward.toml").exists()
    assert "removed" not in service.box.run(["modelward", "uninstall"])
    service.box.run(["modelward", "install", "--now"])
    eventually(lambda: service.serves("dtmf-v1.0"))
