"""Other programs at our log files: cleaners that delete quiet ones, logrotate that renames them and restarts us."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually, modules, open_paths
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.daemon.errors import ModelwardError

pytestmark = pytest.mark.system
SUPERVISORD = shutil.which("supervisord") or shutil.which("supervisord", path=str(Path(sys.executable).parent))
OURS = ("modelward.log", "access.log", "error.log")


@pytest.fixture(scope="module")
def town(build_shared: Build) -> House:
    """One worker serves, and goes on serving whatever the tests do with the logs and the daemon."""
    house = build_shared(workers={"count": 1})
    good_version(house.models, "dtmf-v1.0")
    return house.start("dtmf-v1.0")


def up(house: House) -> bool:
    """Whether a daemon answers that somebody else started."""
    with contextlib.suppress(ModelwardError):
        return bool(house.status()["pid"])
    return False


def inodes_written(house: House) -> set[tuple[int, str]]:
    """The log files that daemon and workers have open: inode and the name the kernel has for it."""
    found = set()
    for pid in (house.status()["pid"], *(worker["pid"] for worker in house.workers())):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = os.readlink(fd)
                if name.startswith(str(house.log_dir)):
                    found.add((os.stat(fd).st_ino, Path(name).name))
            except FileNotFoundError:
                continue
    return found


def all_follow(house: House) -> bool:
    """Whether every log file that is open is the one that has its name."""
    wanted = {((house.log_dir / name).stat().st_ino, name) for name in OURS if (house.log_dir / name).exists()}
    return len(wanted) == len(OURS) and inodes_written(house) == wanted


def test_a_quiet_log_that_a_cleaner_deletes_is_written_again_by_daemon_and_workers(town: House) -> None:
    old = 1_000_000_000
    for name in OURS:
        os.utime(town.log_dir / name, (old, old))
    cleaner = ["find", str(town.log_dir), "-name", "*.log", "-mtime", "+7", "-delete"]
    subprocess.run(cleaner, check=True)
    eventually(lambda: all_follow(town))
    os.kill(town.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: "worker" in (town.log_dir / "error.log").read_text())
    town.await_serving("dtmf-v1.0")


def test_workers_that_have_no_daemon_follow_too(town: House) -> None:
    (worker,) = (entry["pid"] for entry in town.workers())
    town.kill()
    for name in OURS:
        (town.log_dir / name).rename(town.log_dir / f"{name}.1")

    def follows() -> bool:
        return {str(town.log_dir / name) for name in OURS} <= set(open_paths(worker))

    eventually(follows)
    assert os.path.isdir(f"/proc/{worker}")
    town.start()
    eventually(lambda: all_follow(town))


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logrotate_that_renames_and_restarts_the_daemon_blinds_nobody(town: House, tmp_path: Path) -> None:
    """The common recipe: rename, create, restart. Workers outlive the restart by SIGQUIT, and nobody told them."""
    config = tmp_path / "logrotate.conf"
    config.write_text(
        f'"{town.log_dir}/*.log" {{\n rotate 5\n size 0\n nocompress\n create 0640\n missingok\n ifempty\n}}\n'
    )
    config.chmod(0o644)
    for _ in range(2):
        rotating = ["logrotate", "-f", "-s", str(tmp_path / "state"), str(config)]
        subprocess.run(rotating, check=True, capture_output=True)
        assert town.process is not None
        town.process.send_signal(signal.SIGQUIT)
        town.process.wait()
        town.start()
        eventually(lambda: all_follow(town))
        assert town.transcribe()[0] == 200
        eventually(lambda: "POST" in (town.log_dir / "access.log").read_text())


@pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed (pip install supervisor)")
@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logrotate_that_has_supervisor_restart_us_blinds_nobody(build: Build, tmp_path: Path) -> None:
    """The real supervisord, whose restart sends SIGQUIT: the workers serve on, and write under the names again."""
    house = build(workers={"count": 1})
    good_version(house.models, "dtmf-v1.0")
    supervisor, rotate = tmp_path / "supervisord.conf", tmp_path / "logrotate.conf"
    daemon = f"{sys.executable} -m modelward.daemon run --config {house.config}"
    supervisor.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={tmp_path}/supervisord.log\npidfile={tmp_path}/supervisord.pid\n"
        f"[unix_http_server]\nfile={tmp_path}/s.sock\n[supervisorctl]\nserverurl=unix://{tmp_path}/s.sock\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[program:modelward]\ncommand={daemon}\nstopsignal=QUIT\nstopwaitsecs=60\nautorestart=unexpected\n"
        f'environment=PYTHONPATH="{modules()}"\n'
    )
    rotate.write_text(
        f'"{house.log_dir}/*.log" {{\n rotate 5\n nocompress\n create 0640\n missingok\n ifempty\n sharedscripts\n'
        f" postrotate\n  {Path(SUPERVISORD or '').with_name('supervisorctl')} -c {supervisor} restart modelward\n"
        " endscript\n}\n"
    )
    rotate.chmod(0o644)
    manager = subprocess.Popen([SUPERVISORD or "", "-c", supervisor], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: up(house))
        house.await_serving("dtmf-v1.0")
        (before,) = (worker["pid"] for worker in house.workers())
        for _ in range(2):
            rotating = ["logrotate", "-f", "-s", str(tmp_path / "state"), str(rotate)]
            subprocess.run(rotating, check=True, capture_output=True)
            eventually(lambda: up(house))
            house.await_serving("dtmf-v1.0")
            eventually(lambda: all_follow(house))
            assert house.transcribe()[0] == 200
            eventually(lambda: "POST" in (house.log_dir / "access.log").read_text())
        assert [worker["pid"] for worker in house.workers()] == [before]
        os.kill(house.status()["pid"], signal.SIGTERM)
        eventually(lambda: not os.path.isdir(f"/proc/{before}"))
    finally:
        manager.terminate()
        manager.wait()
