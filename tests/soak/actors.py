"""Does one action of the plan.

Thin: whatever can be chosen was chosen by the plan. What can't be done just now (no room on a full disk, no daemon to
ask) is said in the log of the soak and left.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
from tests.house import DIGITS
from tests.soak.plan import (
    ARRIVALS,
    BAD_RELOADS,
    DROPS_SAID_SECONDS,
    RESTART_SECONDS,
    Action,
)
from tests.soak.town import Kill, Town
from tests.support import eventually
from tests.versions import CopyUnderway, broken_version

from modelward.daemon.system.processes import identity

WORDS: Final = DIGITS["dtmf-v1.1"]
BACK_SECONDS: Final = 3 * RESTART_SECONDS
WAIT_SECONDS: Final = 30.0


class Left(Exception):
    """An action that could not be done just now; the text says why."""


# versions


def _good_version(town: Town, action: Action) -> None:
    models, way = town.house.models, ARRIVALS[int(action.number)]
    hidden = models / f".{action.name}"
    with _room_for(hidden):
        shutil.copytree(town.templates / action.what, hidden)
        if action.what != "twin":
            (hidden / "note.txt").write_text(action.name)
    town.styles[action.name] = WORDS if action.what == "words" else DIGITS["dtmf-v1.0"]
    town.kinds[action.name] = ""
    if way.startswith("from "):
        when = (int(way[5:]) - 1970) * 365.25 * 86400
        for path in (*hidden.rglob("*"), hidden):
            os.utime(path, (when, when))
    if not way.startswith("copied"):
        os.rename(hidden, models / action.name)
        return
    try:
        with _room_for(models / action.name):
            copy = CopyUnderway(hidden, models / action.name, chunk_bytes=32_768)
            while copy.step():
                time.sleep(0.03 if way == "copied slowly" else 0)
    finally:
        shutil.rmtree(hidden)


def _bad_version(town: Town, action: Action) -> None:
    hidden = town.house.models / f".{action.name}"
    with _room_for(hidden):
        broken_version(town.house.models, action.what, hidden.name)
    town.styles[action.name], town.kinds[action.name] = DIGITS["dtmf-v1.0"], action.what
    os.rename(hidden, town.house.models / action.name)


@contextlib.contextmanager
def _room_for(directory: Path):  # type: ignore[no-untyped-def]
    """What does not fit on a full disk is taken away again."""
    try:
        yield
    except (OSError, shutil.Error) as e:
        shutil.rmtree(directory, ignore_errors=True)
        raise Left(f"no room: {str(e)[:100]}") from e


def _remove_version(town: Town, action: Action) -> None:
    directory = town.house.models / action.name
    if not directory.exists():
        raise Left("it is gone already")
    shutil.rmtree(directory)


# the link


def _shell(town: Town, command: str, version: str) -> None:
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=town.house.models,
        env={"PATH": os.environ["PATH"], "V": version, "M": str(town.house.models)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if done.returncode:
        raise Left(done.stderr.strip())


def _move_link(town: Town, action: Action) -> None:
    commands = {
        "ln -sfn": 'ln -sfn "$V" current',
        "ln and mv -T": 'ln -sfn "$V" .next && mv -T .next current',
        "rm and ln": 'rm -f current; ln -sfn "$V" current',
        "absolute": 'ln -sfn "$M/$V" .next && mv -T .next current',
    }
    _shell(town, commands[action.what], action.name)


def _wrong_link(town: Town, action: Action) -> None:
    commands = {
        "dangling": "ln -sfn dtmf-v9.9 current",
        "outside": "ln -sfn /etc current",
        "a loop": "ln -sfn current current",
        "gone": "rm -f current",
        "a broken version": 'ln -sfn "$V" current',
    }
    _shell(town, commands[action.what], action.name)


# wishes


def _activate(town: Town, action: Action) -> str:
    answer = town.house.api.post_and_wait("/v1/activate", {"version": action.name}, lambda: None, seconds=WAIT_SECONDS)
    return str(answer.data.get("message", ""))


def _roll_back(town: Town, action: Action) -> str:
    answer = town.house.api.post_and_wait("/v1/rollback", {}, lambda: None, seconds=WAIT_SECONDS)
    return str(answer.data.get("message", ""))


def _look_again(town: Town, action: Action) -> None:
    match action.what:
        case "rescan":
            town.house.api.post("/v1/rescan")
        case "hangup":
            _signal(town, signal.SIGHUP)
        case "hangup of everybody":
            for pid in town.house.worker_pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
            _signal(town, signal.SIGHUP)
        case "reload-model":
            connection = http.client.HTTPConnection("127.0.0.1", town.house.port, timeout=WAIT_SECONDS)
            with contextlib.closing(connection):
                try:
                    connection.request("POST", "/api/reload-model")
                    connection.getresponse().read()
                except http.client.HTTPException as e:
                    raise Left(repr(e)) from e


def _sweep(town: Town, action: Action) -> None:
    town.house.command("sweep")


# processes


def _signal(town: Town, number: signal.Signals) -> None:
    process = town.house.process
    if process is None or process.poll() is not None:
        raise Left("no daemon to signal")
    process.send_signal(number)


def _client_ports(town: Town, pid: int) -> frozenset[int]:
    """The clients' ports of all connections that this process holds.

    Asked three times: the kernel's list is read in pieces while others change it, and may leave one out.
    """
    found = [c for _ in range(3) for c in psutil.Process(pid).net_connections(kind="tcp")]
    return frozenset(c.raddr.port for c in found if c.raddr and c.laddr.port == town.house.port)


def _kill(town: Town, pid: int) -> str:
    """SIGKILL, with the connections that die by it written down: while it stands still it takes no other."""
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    ports = _client_ports(town, pid)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: identity(pid) is None)
    town.kills.append(Kill(pid, ports, began, time.monotonic()))
    return f"pid {pid} with connections from {sorted(ports)} at {began - town.began:.2f}"


def _victim(town: Town, action: Action) -> int:
    ready = town.ready()
    if len(ready) < 2:
        raise Left(f"{len(ready)} workers are ready")
    return ready[int(action.at_seconds * 100) % len(ready)]


def _replaced(town: Town, gone: set[int]) -> None:
    """Returns when there are as many ready workers as wanted and none of `gone`."""
    eventually(lambda: len(ready := town.ready()) == 2 and gone.isdisjoint(ready), BACK_SECONDS)


def _kill_worker(town: Town, action: Action) -> str:
    with town.ending:
        victim = _victim(town, action)
        said = _kill(town, victim)
        _replaced(town, {victim})
    return said


def _end_worker(town: Town, action: Action) -> str:
    with town.ending:
        victim = _victim(town, action)
        os.kill(victim, signal.SIGTERM)
        _replaced(town, {victim})
    return f"pid {victim}"


def _restart_workers(town: Town, action: Action) -> None:
    with town.ending:
        before = set(town.ready())
        _signal(town, signal.SIGUSR2)
        _replaced(town, before)


def _kill_daemon(town: Town, action: Action) -> str:
    with town.ending, town.changing:
        ready = town.ready()
        if action.what == "by logrotate":
            _logrotate(town)
        else:
            town.house.kill()
        town.daemon_kills.append(time.monotonic())
        said = f"away for {action.lasts_seconds} s"
        if action.what == "and a worker" and len(ready) == 2:
            time.sleep(action.lasts_seconds / 2)
            said += ", meanwhile " + _kill(town, ready[0])
            time.sleep(action.lasts_seconds / 2)
        else:
            time.sleep(action.lasts_seconds)
        town.start()
        _replaced(town, set())
    return said


def _logrotate(town: Town) -> None:
    """The common recipe: rename, create, restart. The workers outlive it, and nobody tells them of the new files."""
    if shutil.which("logrotate") is None:
        raise Left("logrotate is not installed")
    config = town.base / "logrotate.conf"
    files = " ".join(f'"{town.house.log_dir}/{name}"' for name in ("access.log", "modelward.log"))
    config.write_text(
        f"{files} {{\n rotate 10000\n nocompress\n create 0640\n missingok\n dateext\n dateformat .outside-%s\n}}\n"
    )
    config.chmod(0o644)
    done = subprocess.run(
        ["logrotate", "-f", "-s", str(town.base / "logrotate.state"), str(config)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    _signal(town, signal.SIGQUIT)
    assert town.house.process is not None
    town.house.process.wait(WAIT_SECONDS)
    if done.returncode:
        town.say(f"logrotate: {done.stderr.strip()[:200]}")


# disks and logs


def _fill_disk(town: Town, action: Action) -> str:
    if town.small_disks:
        raise Left(town.small_disks)
    place = town.house.log_dir if action.what == "logs" else town.base / "disk"
    with town.ending if action.what == "logs" else contextlib.nullcontext():
        ballast = place / "ballast"
        moment = time.monotonic() + action.lasts_seconds
        try:
            with open(ballast, "wb", buffering=0) as file:
                while time.monotonic() < moment:  # what others give up is taken at once
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(bytes(1 << 20))
                    with contextlib.suppress(OSError):
                        file.write(bytes(4096))
                    time.sleep(0.05)
                size = file.tell()
        finally:
            ballast.unlink()
        if action.what == "logs":
            time.sleep(DROPS_SAID_SECONDS)  # every worker writes how many lines it dropped
    return f"{size >> 20} MiB for {action.lasts_seconds} s"


def _rotate(town: Town, action: Action) -> str:
    done = town.house.api.post_and_wait("/v1/rotate", {"force": True}, lambda: None, seconds=WAIT_SECONDS).data
    return "; ".join(done.get("trouble", ()))[:200]


def _reopen(town: Town, action: Action) -> None:
    """As a logrotate of somebody else: renamed, and the daemon told."""
    for name in ("access.log", "modelward.log"):
        live = town.house.log_dir / name
        live.rename(live.with_name(f"{name}.by-hand-{time.monotonic_ns()}"))
    _signal(town, signal.SIGUSR1)


def _clean_logs(town: Town, action: Action) -> str:
    """A cleaner of somebody else's, which finds error.log quiet for long: it goes, and is there again."""
    quiet = town.house.log_dir / "error.log"
    before = quiet.stat().st_ino
    os.utime(quiet, (1e9, 1e9))
    cleaner = ["find", str(quiet.parent), "-maxdepth", "1", "-name", "*.log", "-mtime", "+7", "-delete"]
    subprocess.run(cleaner, check=True, timeout=20)
    eventually(lambda: quiet.exists(), BACK_SECONDS)
    return "it went, and is there again" if quiet.stat().st_ino != before else "something was just written to it"


# configuration and clock


def _good_reload(town: Town, action: Action) -> None:
    number = action.number
    changes: dict[str, tuple[str, dict[str, object]]] = {
        "settle": ("models", {"settle": 0.1 * number}),
        "rescan": ("models", {"rescan": 0.5 + 0.2 * number}),
        "bake": ("rollout", {"bake": 0.2 * number}),
        "max_size": ("logs", {"max_size": f"{64 * int(number)}KiB"}),
        "drain": ("workers", {"drain": 5 + number}),
        "max_error_rate": ("validation", {"max_error_rate": 0.05 + 0.001 * number}),
    }
    with town.changing:
        if action.what in changes:
            section, keys = changes[action.what]
            town.house.settings.setdefault(section, {}).update(keys)
        town.house.configure()
        answer = town.house.command("reload")
        assert answer["success"], answer


def _bad_reload(town: Town, action: Action) -> None:
    house, config = town.house, town.house.config
    spoil: dict[str, Callable[[], object]] = {
        "unknown key": lambda: house.configure(workers={"cuont": 3}),
        "wrong type": lambda: house.configure(workers={"count": "many"}),
        "syntax": lambda: config.write_text("[models\nroot = "),
        "gone": config.unlink,
        "directory": lambda: (config.unlink(), config.mkdir()),
        "no text": lambda: config.write_bytes(b"\xff\xfe\x00"),
    }
    assert set(spoil) == set(BAD_RELOADS)
    with town.changing:
        try:
            spoil[action.what]()
            _signal(town, signal.SIGHUP)
            eventually(lambda: house.status()["config"]["rejected"], 20)
        finally:
            if config.is_dir():
                config.rmdir()
            house.configure()
            _signal(town, signal.SIGHUP)
        eventually(lambda: not house.status()["config"]["rejected"], 20)


def _step_clock(town: Town, action: Action) -> str:
    town.seam.set(action.number)
    return f"{action.number:+.0f} s from the true time"


ACTORS: Final[dict[str, Callable[[Town, Action], str | None]]] = {
    "good version": _good_version,
    "bad version": _bad_version,
    "remove version": _remove_version,
    "move link": _move_link,
    "wrong link": _wrong_link,
    "activate": _activate,
    "roll back": _roll_back,
    "look again": _look_again,
    "kill worker": _kill_worker,
    "end worker": _end_worker,
    "restart workers": _restart_workers,
    "kill daemon": _kill_daemon,
    "fill disk": _fill_disk,
    "rotate": _rotate,
    "reopen": _reopen,
    "sweep": _sweep,
    "clean logs": _clean_logs,
    "good reload": _good_reload,
    "bad reload": _bad_reload,
    "step clock": _step_clock,
}
