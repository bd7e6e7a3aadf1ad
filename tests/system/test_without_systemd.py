"""The recipes for machines without systemd, as they are shipped: a restart loses no request, a stop leaves nothing."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.house import House
from tests.namespaces import in_private_mounts
from tests.support import PATIENCE_SECONDS, ended_after, eventually, modules
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.daemon.errors import ModelwardError

pytestmark = pytest.mark.system
RECIPES = Path(__file__).parents[2] / "etc" / "examples"
SUPERVISORD = shutil.which("supervisord") or shutil.which("supervisord", path=str(Path(sys.executable).parent))
OPENRC = Path("/var/tmp/openrc")
BOX = r"""
box=$1 openrc=$2 recipe=$3 conf=$4 r=$1/root
shift 4
mount -t tmpfs tmpfs "$box"
mkdir "$box/up" "$box/work" "$r"
mount -t overlay overlay -o lowerdir=/,upperdir="$box/up",workdir="$box/work" "$r"
for place in "$@"; do mkdir -p "$r$place" && mount --rbind "$place" "$r$place"; done
mount -t tmpfs tmpfs "$r/run"
tar -C "$openrc" -cf - . | tar -C "$r" --keep-directory-symlink -xf -
install -m 755 "$recipe" "$r/etc/init.d/modelward"
install -D -m 644 "$conf" "$r/etc/conf.d/modelward"
touch "$r/etc/fstab" "$r/etc/insserv.conf"
for name in starting started stopping inactive wasinactive failed hotplugged daemons options exclusive scheduled tmp; do
  mkdir -p "$r/run/openrc/$name"
done
touch "$r/run/openrc/softlevel"
exec chroot "$r" sh -c 'echo booted; exec sleep infinity'
"""
LIVE = "dtmf-v1.0"
EVERY = ("@reboot", r"\* \* \* \* \*")


@pytest.fixture
def town(build: Build) -> Iterator[House]:
    """A house that a recipe is to start, with the program as a command of one word."""
    house = build()
    good_version(house.models, LIVE)
    program = house.root / "modelward"
    program.write_text(f'#!/bin/sh\nexport PYTHONPATH="{modules()}"\nexec {sys.executable} -m modelward.daemon "$@"\n')
    program.chmod(0o755)
    yield house
    with contextlib.suppress(ModelwardError):
        os.kill(pid_of(house), signal.SIGTERM)
        eventually(lambda: not house.worker_pids())


def pid_of(house: House) -> int:
    """The daemon's process number; raises Unreachable while there is none."""
    return int(house.status()["pid"])


def up(house: House, *, other_than: int = 0) -> bool:
    with contextlib.suppress(ModelwardError):
        return pid_of(house) != other_than and house.serves(LIVE)
    return False


def restarted(house: House, restart: Callable[[], object]) -> None:
    """Restarts twice under load: no request is lost, and the same workers serve on."""
    eventually(lambda: up(house))
    workers = {worker["pid"] for worker in house.workers()}
    with house.load(clients=2) as load:
        for _ in range(2):
            before = pid_of(house)
            restart()
            eventually(lambda before=before: up(house, other_than=before))  # type: ignore[misc]
    assert load.failures == [] and load.answers
    assert {worker["pid"] for worker in house.workers()} == workers


@pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed (apt-get install supervisor)")
def test_supervisord_restarts_the_daemon_without_a_lost_request_and_its_end_is_told_by_term(
    town: House, tmp_path: Path
) -> None:
    recipe = configparser.RawConfigParser(inline_comment_prefixes=None)
    recipe.read(RECIPES / "supervisord.conf")
    program = recipe["program:modelward"]
    assert program["stopsignal"] == "QUIT"
    program["command"] = program["command"].replace("/opt/modelward/bin/modelward", str(town.root / "modelward"))
    program["command"] = program["command"].replace("/etc/modelward/modelward.toml", str(town.config))
    del program["user"]
    program["directory"], program["stdout_logfile"] = str(town.root), str(tmp_path / "out")
    socket = tmp_path / "s"
    recipe.read_dict(
        {
            "supervisord": {"nodaemon": "true", "logfile": tmp_path / "log", "pidfile": tmp_path / "pid"},
            "unix_http_server": {"file": socket},
            "supervisorctl": {"serverurl": f"unix://{socket}"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
    )
    with open(tmp_path / "conf", "w") as file:
        recipe.write(file)
    control = [str(Path(SUPERVISORD or "").with_name("supervisorctl")), "-c", str(tmp_path / "conf")]

    def call(*words: str, good: bool = True) -> str:
        done = subprocess.run([*control, *words], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert not good or done.returncode == 0, done
        return done.stdout

    with ended_after(subprocess.Popen([SUPERVISORD or "", "-c", tmp_path / "conf"], stdout=subprocess.DEVNULL)):
        restarted(town, lambda: call("restart", "modelward"))
        call("signal", "TERM", "modelward")
        eventually(lambda: not town.worker_pids())
        assert "EXITED" in call("status", good=False), "ended by TERM, it is not started again"


def test_cron_starts_the_daemon_once_and_restarts_it_without_a_lost_request(town: House, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "MODELWARD_PROGRAM": str(town.root / "modelward"),
        "MODELWARD_CONFIG": str(town.config),
        "MODELWARD_PLACE": str(tmp_path),
        "MODELWARD_USER": "root",
    }
    script = str(RECIPES / "cron" / "modelward")

    def call(verb: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([script, verb], env=environ, capture_output=True, timeout=PATIENCE_SECONDS, check=True)

    with ended_after(subprocess.Popen([script, "check"], env=environ)) as job:  # as cron runs it
        eventually(lambda: up(town))
        assert pid_of(town) == job.pid
        assert call("check").stdout == b"" and pid_of(town) == job.pid, "the next minute's check starts no second one"
        restarted(town, lambda: call("restart"))
        job.wait(PATIENCE_SECONDS)
    call("stop")
    assert town.worker_pids() == []
    call("check")
    assert not up(town), "cron does not start what was stopped by hand"
    call("start")
    eventually(lambda: up(town))
    call("stop")
    assert town.worker_pids() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it runs OpenRC in a mount namespace of its own")
@pytest.mark.skipif(not OPENRC.is_dir(), reason=f"OpenRC is not unpacked in {OPENRC}, as .ci/run does")
def test_openrc_restarts_the_daemon_without_a_lost_request_and_a_stop_leaves_nothing(
    town: House, tmp_path: Path
) -> None:
    in_private_mounts("")
    values = {
        "command": town.root / "modelward",
        "config": town.config,
        "command_user": "root:root",
        "directory": town.root,
        "output_log": tmp_path / "out",
        "runtime_dir": town.root / "run",
    }
    (tmp_path / "conf").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    (tmp_path / "box").mkdir()
    places = ["/dev", "/proc", "/tmp", tmp_path, sys.prefix, sys.base_prefix, RECIPES.parents[1]]
    given = [tmp_path / "box", OPENRC, RECIPES / "openrc" / "modelward", tmp_path / "conf", *places]
    boot = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", BOX, "box", *map(str, given)]
    with ended_after(subprocess.Popen(boot, stdout=subprocess.PIPE)) as box:
        assert box.stdout is not None and box.stdout.readline() == b"booted\n"

        def call(verb: str) -> None:
            command = ["nsenter", f"--target={box.pid}", "--mount", "--root", "rc-service", "modelward", verb]
            environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
            assert done.returncode == 0, done

        call("start")
        restarted(town, lambda: call("restart"))
        call("reload")
        before = pid_of(town)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: up(town, other_than=before))
        call("stop")
        assert town.worker_pids() == [] and not up(town)


def test_the_lines_for_cron_call_the_script_at_boot_and_every_minute() -> None:
    lines = (RECIPES / "cron" / "crontab").read_text(encoding="utf-8").splitlines()
    jobs = [line for line in lines if not line.startswith("#") and "=" not in line]
    call = r"\s+modelward\s+/usr/local/bin/modelward-cron check"
    assert [re.fullmatch(when + call, job) is not None for when, job in zip(EVERY, jobs, strict=True)] == [True, True]


@pytest.mark.parametrize("script", ["cron/modelward", "openrc/modelward"])
def test_the_scripts_are_plain_shell(script: str) -> None:
    done = subprocess.run(["sh", "-n", RECIPES / script], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
