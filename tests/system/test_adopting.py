"""The article's scripts, as they stand there, beside a modelward that a real supervisord runs over the same files.

Each does no harm, and what docs/adopting.md has in its place does the same. One house serves through all of it.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import article
from tests.house import House, free_port
from tests.support import PATIENCE_SECONDS, ended_after, eventually, modules
from tests.system.marks import mark
from tests.versions import good_version

from modelward.daemon.errors import ModelwardError

SUPERVISORD = shutil.which("supervisord") or shutil.which("supervisord", path=str(Path(sys.executable).parent))
MISSING = [name for name in ("curl", "logrotate", "bc", "free", "top", "gzip") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed (pip install supervisor)"),
    pytest.mark.skipif(bool(MISSING), reason=f"the article's scripts need {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the article's logrotate makes files of root's"),
]
OLD_SECONDS = 30 * 86400.0
NEVER = [{"metric": f"{what}_used_percent", "above": 99.0, "for": "1d"} for what in ("cpu", "disk", "inode", "memory")]
"""The machine that runs the tests may be as busy and as full as it likes."""


class Adopted(House):
    """A house in the article's directories: models, logs, cache, tmp and uploads lie where its scripts work."""

    @property
    def models(self) -> Path:
        return self.root / article.MODELS.lstrip("/")

    @property
    def project(self) -> Path:
        return self.root / article.PROJECT.lstrip("/")

    @property
    def log_dir(self) -> Path:
        return self.project / "logs"

    @property
    def supervisor(self) -> Path:
        return self.root / "etc" / "supervisord.conf"

    def sh(self, text: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs a text of the article in bash, wherever it leads."""
        return self.run("bash", "-c", self.placed(text), **environ)

    def placed(self, text: str) -> str:
        return article.placed(text, str(self.root), port=self.port)

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**self.shell, **environ},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",  # logrotate cuts its messages in the middle of a letter
            timeout=PATIENCE_SECONDS,
        )

    @property
    def shell(self) -> dict[str, str]:
        """What root's shell has: supervisorctl and modelward are on the path."""
        path = os.pathsep.join((str(self.root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
        return {**os.environ, "PATH": path, "PYTHONPATH": modules()}

    def up(self) -> bool:
        """Whether a daemon answers, whoever started it, and its worker serves."""
        with contextlib.suppress(ModelwardError):
            return bool(self.status()["ready"]) and self.status()["rollout"] is None
        return False

    def set_up(self) -> None:
        """The article's files, a supervisord that runs modelward in the WebUI's place, commands on the path."""
        article.place(self.root, str(self.root), port=self.port, panel=free_port())
        (self.root / "bin").mkdir()
        control = Path(SUPERVISORD or "").with_name("supervisorctl")
        for name, command in {
            "supervisorctl": f"{control} -c {self.supervisor}",
            "modelward": f"{sys.executable} -m modelward.daemon",
        }.items():
            (self.root / "bin" / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
            (self.root / "bin" / name).chmod(0o755)
        daemon = f"{sys.executable} -m modelward.daemon run --config {self.config}"
        self.supervisor.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={self.root}/s.log\npidfile={self.root}/s.pid\n"
            f"[unix_http_server]\nfile={self.root}/s.sock\n[supervisorctl]\nserverurl=unix://{self.root}/s.sock\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            "[group:sensevoice]\nprograms=sensevoice-webui\n"
            f"[program:sensevoice-webui]\ncommand={daemon}\nstopsignal=QUIT\nstopwaitsecs=60\n"
            f'environment=PYTHONPATH="{modules()}"\n',
            encoding="utf-8",
        )

    def alarms(self) -> list[str]:
        """Every alert that ever began."""
        return [entry["because"] for entry in self.history("alert-firing")]

    def worker(self) -> int:
        """Its process; 0 while there is none."""
        return next((int(worker["pid"] or 0) for worker in self.workers()), 0)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    root = tmp_path_factory.mktemp("article")
    project = root / article.PROJECT.lstrip("/")
    classes = [{"name": name, "path": str(project / name), "max_age": "24h"} for name in ("uploads", "tmp")]
    house = Adopted(
        root,
        {
            "models": {"root": str(root / article.MODELS.lstrip("/")), "activation": "manual"},
            "workers": {"count": 1},
            "control": {"cache_dir": str(project / "cache")},
            "logs": {"dir": str(project / "logs")},
            "disk": {"min_age": 0, "class": classes},
            "monitor": {"alert": NEVER},
            "panel": {"listen": f"127.0.0.1:{free_port()}", "token_file": "none"},
        },
    )
    house.set_up()
    good_version(house.models, article.OLD)
    house.link.symlink_to(article.OLD)
    with ended_after(
        subprocess.Popen([SUPERVISORD or "", "-c", house.supervisor], stdout=subprocess.DEVNULL)
    ) as manager:
        try:
            eventually(house.up)
            house.await_serving(article.OLD)
            yield house
            manager.terminate()
            manager.wait(PATIENCE_SECONDS)
        finally:
            house.close()


def age(path: Path) -> Path:
    """The file, a month old."""
    old = time.time() - OLD_SECONDS
    os.utime(path, (old, old))
    return path


def test_what_the_article_measures_is_measured(house: Adopted) -> None:
    assert house.sh(article.USAGE).returncode == 0
    shown = json.loads(house.cli("disk", "--json").stdout)
    assert {"versions", "logs", "uploads", "tmp"} <= {row["class"] for row in shown["classes"]}


@pytest.mark.parametrize("script", [article.BY_AGE, article.COMPRESS], ids=["deleted", "compressed"])
def test_quiet_logs_that_are_deleted_or_compressed_are_written_again(house: Adopted, script: str) -> None:
    own = [house.log_dir / name for name in ("modelward.log", "access.log", "error.log")]
    eventually(lambda: all(path.exists() for path in own))
    for path in own:
        age(path)
    assert house.sh(script).returncode == 0
    eventually(lambda: all(path.exists() for path in own))
    assert house.transcribe()[0] == 200
    eventually(lambda: "POST" in (house.log_dir / "access.log").read_text())


def test_rotation_by_hand_compresses_and_deletes_nothing(house: Adopted) -> None:
    before = len((house.log_dir / "access.log").read_text())
    assert before
    assert house.cli("rotate", "--force").returncode == 0
    packed = eventually(lambda: list(house.log_dir.glob("access.log.*.gz")))
    assert "POST" in "".join(gzip.decompress(path.read_bytes()).decode() for path in packed)


def test_a_cache_that_is_emptied_below_it_costs_no_request_and_the_next_worker_serves(house: Adopted) -> None:
    worker, upload = house.worker(), copied_today(house)
    with house.load(1) as load:
        assert house.sh(article.CACHE).returncode == 0
    assert load.failures == []
    assert not upload.exists()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: house.up() and house.worker() not in (0, worker))
    assert house.transcribe()[0] == 200


def test_the_cleaning_script_under_cron_deletes_an_upload_of_today_that_a_sweep_keeps(house: Adopted) -> None:
    """An upload may carry an old time: it was copied with its times. A sweep counts from when it came."""
    kept = house.project / "uploads" / "today.wav"
    kept.write_bytes(b"x")
    copied = copied_today(house)
    assert house.cli("sweep").returncode == 0
    assert copied.exists()
    *_, command = house.placed(article.CRON).split()
    done = house.run("env", "-i", "PATH=/usr/bin:/bin", "HOME=/root", "sh", "-c", command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copied.exists(), kept.exists()) == (False, True)
    assert "清理结束于" in (house.log_dir / "cleanup.log").read_text()


def copied_today(house: Adopted) -> Path:
    """An upload that came now and carries an old time."""
    path = house.project / "uploads" / "copied.wav"
    path.write_bytes(b"x")
    return age(path)


def logrotate(house: Adopted, how: str, name: str) -> subprocess.CompletedProcess[str]:
    state, config = house.root / "logrotate.state", house.root / "etc/logrotate.d" / name
    return house.run("logrotate", how, "-s", str(state), str(config))


@pytest.mark.parametrize("name", ["sensevoice", "sensevoice-size"])
def test_logrotate_that_restarts_the_service_loses_no_request_and_no_line(house: Adopted, name: str) -> None:
    """As it stands there logrotate refuses the file: it takes no remark behind a number. Without them it works."""
    web, config, worker = house.log_dir / "webui.log", house.root / "etc/logrotate.d" / name, house.worker()
    web.write_text("one line\n", encoding="utf-8")
    for how in ("-d", "-f"):
        assert "skipping" in logrotate(house, how, name).stderr
    assert web.read_text() == "one line\n"
    config.write_text(re.sub(r" +# .*", "", config.read_text()), encoding="utf-8")
    assert logrotate(house, "-d", name).returncode == 0
    with house.load(1) as load:
        done = logrotate(house, "-f", name)
        eventually(house.up)
    assert done.returncode == 0, done.stderr
    assert load.failures == []
    assert house.worker() == worker
    assert house.transcribe()[0] == 200
    eventually(lambda: "POST" in (house.log_dir / "access.log").read_text())
    assert (house.log_dir / "webui.log.1").read_text() == "one line\n"


def test_handlers_for_levels_on_the_same_files_take_nothing_away(house: Adopted) -> None:
    before = (house.log_dir / "access.log").read_bytes()
    assert house.run(sys.executable, "-c", house.placed(article.LEVELS)).returncode == 0
    assert (house.log_dir / "access.log").read_bytes().startswith(before)
    for name in ("modelward.log", "access.log", "error.log"):
        shown = house.cli("logs", name, "-n", 1)
        assert shown.returncode == 0, shown.stderr


def test_an_update_whose_check_fails_moves_nothing(house: Adopted) -> None:
    """The article's check needs torch, and gives the model an input that no SenseVoice takes."""
    good_version(house.models, article.NEW, words=True)
    house.await_state(article.NEW, "accepted")
    done = house.run(house.placed("/root/update_model.sh"))
    assert (done.returncode, "模型验证失败，更新中止" in done.stdout) == (1, True), done.stdout + done.stderr
    assert os.readlink(house.link) == article.OLD
    assert house.serves(article.OLD)


def test_the_update_script_with_our_validation_swaps_without_a_lost_request(house: Adopted) -> None:
    (house.root / "root/validate_model.py").write_text(article.OUR_CHECK)
    with house.load(2) as load:
        done = house.run(house.placed("/root/update_model.sh"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"success":true' in done.stdout.replace(" ", "")
        house.await_serving(article.NEW)
    assert load.failures == []
    assert f"当前模型: {house.models / article.NEW}" in done.stdout
    assert house.link.resolve() == house.models / article.NEW


def test_the_test_of_the_hot_update_passes(house: Adopted) -> None:
    done = house.run(house.placed("/root/test_hot_update.sh"))
    assert "服务状态正常" in done.stdout, done.stdout + done.stderr
    assert "热更新测试完成" in done.stdout
    assert house.serves(article.NEW)
    assert house.link.resolve() == house.models / article.NEW


def test_the_monitor_script_finds_the_service_running_and_the_status_command_too(house: Adopted) -> None:
    assert house.run(house.placed("/root/monitor_sensevoice.sh")).returncode == 0
    log = (house.log_dir / "monitor.log").read_text()
    assert "服务:RUNNING" in log
    assert "服务状态" not in log
    status = json.loads(house.cli("status", "--json").stdout)
    assert status["ready"] and status["live"] == article.NEW


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
    headers = {"Content-Type": "application/json", "X-Modelward": "1"} if body else {}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def panel_port(text: str) -> int:
    return int(text.rpartition("port=")[2].split(")")[0])


def test_the_articles_panel_beside_it_restarts_and_cleans(house: Adopted) -> None:
    program, worker = house.root / "root/ops_panel.py", house.worker()
    port = panel_port(program.read_text())
    with ended_after(
        subprocess.Popen(
            [sys.executable, program], env=house.shell, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    ):

        def page() -> tuple[int, str]:
            with contextlib.suppress(OSError):
                return ask(port, "GET", "/")
            return 0, ""

        status, text = eventually(lambda: p if (p := page())[0] else None) or (0, "")
        assert (status, '"card healthy"' in text) == (200, True), text
        with house.load(1) as load:
            assert ask(port, "GET", article.BUTTONS["重启服务"]) == (200, "服务重启成功")
            eventually(house.up)
        assert load.failures == []
        gone = copied_today(house)
        assert ask(port, "GET", article.BUTTONS["清理磁盘"])[0] == 200
        assert not gone.exists()
    assert house.worker() == worker


OURS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "重启服务": ("POST", "/v1/restart?wait=1", {}),
    "清理磁盘": ("POST", "/v1/sweep", {}),
    "轮转日志": ("POST", "/v1/rotate", {"force": True}),
    "更新模型": ("POST", "/v1/activate?wait=1", {"version": article.NEW}),
    "查看日志": ("GET", "/v1/logs/modelward.log?lines=5", {}),
}
"""What our panel's buttons ask for in the place of the article's."""


def test_our_panel_has_every_button_and_changes_nothing_on_a_get(house: Adopted) -> None:
    _, _, port = str(house.settings["panel"]["listen"]).partition(":")
    moment = mark(house)
    for path in article.BUTTONS.values():
        assert ask(int(port), "GET", path)[0] == 404
    assert moment.history() == []
    for button, (method, path, body) in OURS.items():
        status, text = ask(int(port), method, path, json.dumps(body).encode() if method == "POST" else b"")
        assert status == 200, (button, text)
    assert house.serves(article.NEW)


def test_nothing_of_all_this_was_an_alert(house: Adopted) -> None:
    assert house.alarms() == []
    assert house.transcribe()[0] == 200
