"""What a confined worker can still do: the worker itself, and a process that confined itself in the same way and then
tries what nobody who serves needs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import soundfile
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.running import (
    clip,
    copy_artifact,
    digits,
    worker,
)
from tests.worker.sandbox.test_landlock import landlock_abi, python, users
from tests.worker.validate.judging import ROOT

from modelward.daemon.workers import slot_files
from modelward.worker.decoders.confinement import OOM_SCORE as DECODER_SCORE
from modelward.worker.protocol import (
    Hello,
    Reopened,
    ReopenLogs,
    WorkerSettings,
)
from modelward.worker.sandbox.worker_sandbox import OOM_SCORE, loader_of
from modelward.worker.shared.worker_directories import identities, places_of, token_places

LIBRARIES = str(Path(msgspec.__file__).parents[1])
PRELUDE = """
import ctypes, errno, json, os, socket, subprocess, sys, threading
from pathlib import Path
import msgspec
from modelward.worker.sandbox.worker_sandbox import confine
from modelward.worker.protocol import WorkerSettings

libc = ctypes.CDLL(None, use_errno=True)
settings = msgspec.json.decode(sys.argv[1], type=WorkerSettings)
place = Path(sys.argv[2])

def refused(action):
    try:
        action()
    except OSError as e:
        return errno.errorcode[e.errno]
    return ""

def call(*arguments):
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(*arguments) < 0 else ""

victim = subprocess.Popen(["sleep", "3600"])
listener = socket.create_server(("127.0.0.1", 0))
confined = confine(settings)
"""


class House:
    """A daemon's directories, with something in each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("cache", "logs", "shared", "state", "models", "tokens"):
            (root / name).mkdir()
            (root / name).chmod(0o777)
            (root / name / "file").write_text(name)
            (root / name / "file").chmod(0o666)
        root.chmod(0o755)
        self.settings = WorkerSettings(
            name="w1",
            worker_socket=str(root / "shared" / "w.sock"),
            api_socket="",
            listen_fd=-1,
            token_file=str(root / "tokens" / "file"),
            log_dir=str(root / "logs"),
            slots=str(root / "shared"),
            cache_dir=str(root / "cache"),
        )

    def run(self, script: str, *, user: int | None = None, **settings: Any) -> list[str]:
        """What the script printed; it ran confined."""
        if not python(user):
            pytest.skip("no interpreter that this user may run")
        told = msgspec.structs.replace(self.settings, **settings)
        done = subprocess.run(
            [python(user), "-c", PRELUDE + script + "\nvictim.kill()\n", msgspec.json.encode(told).decode(), self.root],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            user=user,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join((str(ROOT / ".imports"), LIBRARIES)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def house(tmp_path: Path) -> House:
    for parent in (tmp_path, *tmp_path.parents):
        if parent != Path("/") and parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    return House(tmp_path)


everybody = pytest.mark.parametrize("user", users(), ids=["as we are", "as nobody"][: len(users())])
needs_landlock = pytest.mark.usefixtures("landlock")


@pytest.fixture(scope="module")
def landlock() -> None:
    if landlock_abi() < 3:
        pytest.skip("this kernel's Landlock does not know truncation")


@needs_landlock
@everybody
def test_says_what_holds(house: House, user: int | None) -> None:
    said = house.run("print(confined)\nprint(json.dumps(confined.places))\n", user=user)
    assert said[0] == "no new privileges, landlock, seccomp"
    assert json.loads(said[1]) == identities(places_of(house.settings))


@needs_landlock
@everybody
def test_reads_what_it_serves_and_tokens_and_nothing_of_the_daemon_or_the_machine(
    house: House, user: int | None
) -> None:
    said = house.run(
        """
print([refused(lambda: (place / name / "file").read_text()) for name in ("cache", "tokens", "shared")])
print([refused(lambda: (place / name / "file").read_text()) for name in ("state", "models", "logs")])
print([refused(lambda: os.listdir(place / name)) for name in ("state", "models", "logs", ".")])
print([refused(lambda: open(name).read(1)) for name in ("/etc/passwd", "/proc/1/environ", f"/proc/{victim.pid}/maps")])
print([bool(open(name, "rb").read(1)) for name in ("/proc/self/statm", "/proc/cpuinfo", "/proc/loadavg")])
""",
        user=user,
    )
    denied = ["EACCES"] * 4
    assert said == [str(["", "", ""]), str(denied[:3]), str(denied), str(denied[:3]), str([True, True, True])]


@needs_landlock
@everybody
def test_writes_logs_and_what_workers_share_alone(house: House, user: int | None) -> None:
    said = house.run(
        """
def appends(path):
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640))

print([refused(lambda: appends(place / "logs" / name)) for name in ("file", "new.log")])
print([refused(lambda: appends(place / name / "file")) for name in ("cache", "state", "models", "tokens")])
print([refused(lambda: appends(place / name / "new")) for name in ("cache", "state", "models", "tokens", "shared")])
print([refused(lambda: os.unlink(place / name / "file")) for name in ("cache", "state", "models", "tokens", "logs")])
print(*(refused(lambda: os.truncate(place / name / "file", 0)) for name in ("logs", "shared")))
bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
print(refused(lambda: bell.bind(str(place / "shared" / "bell"))), refused(lambda: os.unlink(place / "shared" / "bell")))
print([refused(lambda: os.mkdir(place / name / "d")) for name in ("logs", "shared", "cache")])
""",
        user=user,
    )
    denied = ["EACCES"] * 5
    assert said == [
        str(["", ""]), str(denied[:4]), str(denied), str(denied), "EACCES EACCES", " ", str(denied[:3])
    ]  # fmt: skip
    assert (house.root / "logs" / "file").read_text() == "logs"


@everybody
def test_connects_to_no_address_and_goes_on_accepting(house: House, user: int | None) -> None:
    said = house.run(
        """
print([refused(lambda: socket.socket(kind)) for kind in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 38)])
print(refused(lambda: socket.socketpair()[0].close()), refused(lambda: socket.socket(socket.AF_UNIX).close()))
listener.setblocking(False)
print(refused(lambda: listener.accept()))
unspecified = (ctypes.c_char * 16)()
libc.connect(listener.fileno(), unspecified, 16)
print(refused(lambda: listener.connect(("127.0.0.1", 9))) != "ECONNREFUSED")
""",
        user=user,
    )
    assert said == [str(["EPERM"] * 4), " ", "EAGAIN", "True"]


@everybody
def test_has_no_other_process_namespace_mount_or_mode_of_a_file(house: House, user: int | None) -> None:
    said = house.run(
        """
print(call(101, 16, victim.pid, 0, 0), call(310, victim.pid, 0, 0, 0, 0, 0), call(438, 0, 0, 0))
print(call(272, 0x10000000), call(308, 0, 0), call(165, 0, 0, 0, 0, 0), call(321, 0, 0, 0), call(250, 0, -3, 0))
print(call(425, 8, 0), call(298, 0, 0, -1, -1, 0), call(323, 0), call(175, 0, 0, 0), call(246, 0, 0, 0, 0))
print(call(169, 0))
print(call(56, 0x10000000 | 17, 0, 0, 0, 0), call(435, 0, 0))
print(refused(lambda: os.chmod(place, 0o700)), refused(lambda: os.utime(place)), refused(lambda: os.setuid(65534)))
"""
        if os.uname().machine == "x86_64"
        else "print()",
        user=user,
    )
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86-64")
    words = [line.split() for line in said]
    assert [len(line) for line in words] == [3, 5, 5, 1, 2, 3]
    assert {word for line in words for word in line} == {"EPERM", "ENOSYS"} and words[4][1] == "ENOSYS"


@everybody
def test_starts_this_interpreter_and_no_other_program_and_the_rules_hold_there(house: House, user: int | None) -> None:
    said = house.run(
        """
print(refused(lambda: subprocess.run(["/bin/true"])))
probe = f'''
import socket
try: print(open({str(place / "state" / "file")!r}).read())
except OSError as e: print(e.strerror)
try: socket.socket(socket.AF_INET)
except OSError as e: print(e.strerror)
'''
print(subprocess.run([sys.executable, "-S", "-c", probe], capture_output=True, text=True).stdout.split("\\n"))
threading.Thread(target=print, args=("a thread",)).start()
""",
        user=user,
    )
    if landlock_abi() >= 1:
        assert said[:2] == ["EACCES", str(["Permission denied", "Operation not permitted", ""])]
    assert said[2] == "a thread"


@needs_landlock
def test_a_token_file_is_read_after_it_was_replaced_and_through_a_link(house: House) -> None:
    link = house.root / "mine"
    link.mkdir()
    (link / "tokens").symlink_to("../tokens/file")
    assert token_places(str(link / "tokens")) == (str(link), str(house.root / "tokens"))
    assert token_places("/tokens") == () and token_places("") == ()
    said = house.run(
        """
print((place / "mine" / "tokens").read_text())
""",
        token_file=str(link / "tokens"),
    )
    assert said == ["tokens"]


@needs_landlock
def test_tokens_out_of_sight_are_those_that_it_was_told_of(house: House) -> None:
    said = house.run(
        """
from modelward.worker.shared.token_file import TokensFile, mark_of

told = TokensFile(str(place / "state" / "file"), print, (mark_of("secret"),))
print(bool(told.check("secret")), bool(told.check("state")), repr(told.problem()))
alone = TokensFile(str(place / "state" / "file"), lambda problem: None)
print(bool(alone.check("state")), alone.problem().endswith("Permission denied; no token is accepted"))
near = TokensFile(str(place / "tokens" / "file"), print, (mark_of("secret"),))
print(bool(near.check("secret")), bool(near.check("tokens")))
"""
    )
    assert said == ["True False ''", "False True", "False True"]


def test_with_other_devices_fewer_rules_hold_and_that_is_said(house: House) -> None:
    said = house.run(
        """
print(confined.missing)
print(refused(lambda: socket.socket(socket.AF_INET).close()), refused(lambda: subprocess.run(["/bin/true"])))
print(refused(lambda: (place / "state" / "file").read_text()), call(272, 0x10000000))
""",
        providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
    )
    assert "devices, sockets and programs are open for CUDAExecutionProvider, CPUExecutionProvider" in said[0]
    assert said[1:] == [" ", "EACCES EPERM"]


def test_nothing_is_taken_where_it_is_turned_off(house: House) -> None:
    said = house.run('print(confined)\nprint(refused(lambda: (place / "state" / "file").read_text()))\n', confine=False)
    assert said == ["not confined: workers.confine is false", ""]


def test_a_program_names_its_loader(tmp_path: Path) -> None:
    loader = loader_of(os.path.realpath(sys.executable))
    assert Path(loader).is_file() and "ld" in Path(loader).name
    assert loader_of(loader) == ""
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(ValueError, match="is not a 64-bit program"):
        loader_of(str(tmp_path / "script"))


@needs_landlock
def test_a_running_worker_is_confined_and_tells_the_daemon(tmp_path: Path) -> None:
    with worker(tmp_path, None) as running:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
        )
        facts = {name: status[name].strip() for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm")}
        assert facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2"
        assert int(facts["CapEff"], 16) | int(facts["CapPrm"], 16) in (0, 2, 4, 6)
        hello = running.daemon.wait_for(Hello)
        assert hello.confinement == "no new privileges, landlock, seccomp" and hello.missing == ""
        assert int(Path(f"/proc/{running.process.pid}/oom_score_adj").read_text()) >= 100


@needs_landlock
def test_a_confined_worker_starts_decoders_reopens_logs_and_loads_what_comes(tmp_path: Path) -> None:
    compressed = io.BytesIO()
    samples, rate = soundfile.read(io.BytesIO(clip("5551234")))
    soundfile.write(compressed, samples, rate, format="FLAC")
    shared = tmp_path / "shared"
    shared.mkdir()
    slot_files.keep(shared, 2)
    with worker(tmp_path, digits(), slots=str(shared)) as running:
        client, own = running.client(), Path(f"/proc/{running.process.pid}")
        assert running.predict(client, compressed.getvalue()).json()["result"] == "5551234"
        decoder = "".join(path.read_text() for path in (own / "task").glob("*/children")).split()[0]
        scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (own.name, decoder)]
        assert scores == [max(scores[0], OOM_SCORE), max(scores[0], DECODER_SCORE)]
        eventually(lambda: len(running.lines("access.log")) == 1)
        (running.logs / "access.log").rename(running.logs / "access.log.1")
        running.daemon.say(ReopenLogs())
        running.daemon.wait_for(Reopened)
        assert running.predict(client, clip("5551234")).json()["result"] == "5551234"
        eventually(lambda: len(running.lines("access.log")) == 1)
        later = copy_artifact(digits(), tmp_path / "cache" / digits().name)
        running.daemon.swap("r1", digits().name.rsplit("-", 1)[0], later)
        assert running.predict(client, clip("5551234")).json()["result"] == "5551234"
