"""A real systemd as PID 1 in private namespaces, over a throw-away overlay of this machine's root.

Nothing outside the box is written. It has a process tree, a network (loopback alone), a /run and a /tmp of its own; in
/opt/modelward the package as a wheel installs it, with the dependencies of the interpreter that runs the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import http.server
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.house import BREATH_SECONDS, Load, clip
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.cli.client import Client
from modelward.daemon.errors import ModelwardError

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = ("daemon", "worker", "systemd", "etc", "docs", "pyproject.toml", "README.md", "LICENSE")
SYSTEMD = Path("/lib/systemd/systemd")
CLONE_NEWNET = 0x40000000
PREFIX = "/opt/modelward"

BOOT = r"""
set -e
mount -t tmpfs tmpfs "$box"; mkdir "$box"/up "$box"/work "$box"/root; r="$box/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$box/up",workdir="$box/work" "$r"
mount --rbind /dev "$r/dev"
for d in run tmp; do mount -t tmpfs tmpfs "$r/$d"; done
for d in multi-user sockets timers; do rm -rf "$r/etc/systemd/system/$d.target.wants"; done
mkdir -p "$r/etc/systemd/system/service.d"
cat > "$r/etc/systemd/system/service.d/output.conf" <<U
[Service]
StandardOutput=append:/services.log
StandardError=append:/services.log
U
rm -rf "$r"/opt/*; mkdir -p "$r/opt/python" "$r/opt/deps"
mount --bind "$python" "$r/opt/python"; mount --bind "$packages" "$r/opt/deps"
echo /opt/python/lib > "$r/etc/ld.so.conf.d/00-box.conf"  # a shared libpython is looked up by name
chroot "$r" ldconfig
exec unshare --pid --ipc --uts --cgroup --net --fork --kill-child bash -c "
  mount -t proc proc '$r/proc'; mount -t sysfs sysfs '$r/sys'
  mkdir -p '$r/sys/fs/cgroup'; mount -t cgroup2 cgroup2 '$r/sys/fs/cgroup'
  mount --make-rshared '$r'
  exec chroot '$r' /usr/bin/env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    $systemd --system --unit=basic.target --log-target=null"
"""
LOOPBACK = "import fcntl,socket,struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))"


def why_not() -> str:
    """Why there can be no box here; "" when there can."""
    if os.geteuid() != 0:
        return "needs root: it boots systemd in namespaces of its own"
    if not SYSTEMD.exists() or not all(map(shutil.which, ("unshare", "nsenter", "mount", "systemd-analyze"))):
        return "needs systemd and util-linux"
    probe = 'd=$(mktemp -d) && mount -t tmpfs t "$d" && mkdir "$d"/u "$d"/w "$d"/r && ' \
            'mount -t overlay o -o lowerdir=/,upperdir="$d/u",workdir="$d/w" "$d/r"'  # fmt: skip
    command = ["unshare", "--mount", "--pid", "--net", "--cgroup", "--fork", "--propagation", "private", "sh", "-c"]
    done = subprocess.run([*command, probe], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return f"needs an overlay and namespaces: {done.stderr.strip()}" if done.returncode else ""


def wheel(directory: Path) -> Path:
    """The package as it is released, built from this checkout."""
    source = directory / "source"
    source.mkdir()
    for name in SHIPPED:
        path = REPOSITORY / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, source / name, ignore=ignore) if path.is_dir() else shutil.copy(path, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", directory, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return next(directory.glob("*.whl"))


@dataclass
class Box:
    """One booted systemd; see the module."""

    process: subprocess.Popen[bytes]
    init: int
    place: Path
    group: Path | None

    @classmethod
    def boot(cls) -> Box:
        place = Path(tempfile.mkdtemp(prefix="modelward-box-"))
        group = _own_group()
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", BOOT]
        if group is not None:
            command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]
        places = {
            "box": str(place),
            "python": sys.base_prefix,
            "packages": sysconfig.get_path("purelib"),
            "systemd": str(SYSTEMD),
        }
        with open(place.with_suffix(".log"), "wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **places}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        box = cls(process, eventually(lambda: _systemd_below(process.pid)), place, group)
        try:
            eventually(lambda: (box.root / "run/systemd/private").exists())
            eventually(lambda: box.systemctl("is-active", "basic.target")[0] == 0)
            box.run(["/opt/python/bin/python3", "-c", LOOPBACK])
        except BaseException:
            box.close()
            raise
        return box

    @property
    def root(self) -> Path:
        """The box's files, seen from here."""
        return Path(f"/proc/{self.init}/root")

    def path(self, inside: str) -> Path:
        """A file of the box, seen from here."""
        return self.root / inside.lstrip("/")

    def call(
        self, command: Sequence[str], *, seconds: float = PATIENCE_SECONDS, stdin: bytes = b"", **environ: str
    ) -> tuple[int, str]:
        """Runs a program in the box: status, and what it printed, errors included."""
        into = ["nsenter", f"--target={self.init}", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--root"]
        path = f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        env = {"PATH": path, "LANG": "C.UTF-8", "SYSTEMD_PAGER": "", **environ}
        done = subprocess.run(
            [*into, "--wd", *command],
            env=env,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def run(self, command: Sequence[str], *, seconds: float = PATIENCE_SECONDS, **environ: str) -> str:
        """The same for what must not fail; what it printed."""
        status, text = self.call(command, seconds=seconds, **environ)
        assert status == 0, f"{command}: {status}: {text}"
        return text

    def systemctl(self, *arguments: str, seconds: float = PATIENCE_SECONDS) -> tuple[int, str]:
        return self.call(["systemctl", *arguments], seconds=seconds)

    def said(self) -> str:
        """What the services in it printed."""
        with contextlib.suppress(FileNotFoundError):
            return self.path("/services.log").read_text(errors="replace")
        return ""

    def install_package(self, package: Path) -> None:
        """A fresh environment in /opt/modelward with the wheel in it, as pip would have it."""
        shutil.copy(package, self.path("/opt"))
        self.run(["/opt/python/bin/python3", "-m", "venv", "--without-pip", PREFIX])
        site = next(self.path(f"{PREFIX}/lib").glob("python*")) / "site-packages"
        (site / "dependencies.pth").write_text("/opt/deps\n")
        pip = [
            f"{PREFIX}/bin/python",
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--root-user-action=ignore",
        ]
        self.run([*pip, "--ignore-installed", f"/opt/{package.name}"], PYTHONPATH="/opt/deps")

    def close(self) -> None:
        """Ends everything in it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.with_suffix(".log").unlink(missing_ok=True)
        if self.group is not None:
            with contextlib.suppress(AssertionError):
                eventually(self._group_gone)

    def _group_gone(self) -> bool:
        assert self.group is not None
        for directory, _, _ in os.walk(self.group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        return not self.group.exists()


def _systemd_below(pid: int) -> int:
    """The child that has become systemd; 0 until there is one."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return int(child)
    return 0


def _own_group() -> Path | None:
    """A control group of the box's own: two systemds must not meet in one. None where none can be made."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            ours = next(
                x.partition("::")[2] for x in Path("/proc/self/cgroup").read_text().splitlines() if x[:3] == "0::"
            )
            group = Path(line.split()[4] + ours.rstrip("/")) / f"modelward-box-{uuid.uuid4().hex[:8]}"
            with contextlib.suppress(OSError):
                group.mkdir()
                return group
    return None


@dataclass
class BoxedLoad(Load):
    """Clients in the box's network."""

    init: int = 0

    def _run(self) -> None:
        enter_network(self.init)
        super()._run()


def enter_network(init: int) -> None:
    """Moves this thread, and no other, to the network of the box whose first process this is."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{init}/ns/net", "rb") as network:
        if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the box's network")


@contextlib.contextmanager
def hook(init: int, port: int) -> Iterator[list[bytes]]:
    """Listens for POST in the box's network; the bodies that came."""
    bodies: list[bytes] = []

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    def open_there() -> http.server.HTTPServer:
        enter_network(init)
        return http.server.HTTPServer(("127.0.0.1", port), Taker)

    with ThreadPoolExecutor(1) as there:
        server = there.submit(open_there).result(PATIENCE_SECONDS)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield bodies
    finally:
        server.shutdown()
        server.server_close()
        serving.join(PATIENCE_SECONDS)


@dataclass
class Service:
    """modelward.service in a box."""

    box: Box
    unit: str = "modelward.service"
    port: int = 7860

    @property
    def api(self) -> Client:
        return Client(str(self.box.path("/run/modelward/api.sock")))

    @property
    def models(self) -> Path:
        return self.box.path("/var/lib/modelward/models")

    def show(self, *properties: str) -> dict[str, str]:
        """What systemd knows of the unit."""
        _, text = self.box.systemctl("show", self.unit, "--property=" + ",".join(properties))
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    @property
    def state(self) -> str:
        return self.show("ActiveState")["ActiveState"]

    @property
    def restarts(self) -> int:
        """How often systemd started it again by itself."""
        return int(self.show("NRestarts")["NRestarts"])

    @property
    def main_pid(self) -> int:
        """In the box's numbers."""
        return int(self.show("MainPID")["MainPID"])

    def signal(self, number: int) -> None:
        """To the main process."""
        self.box.run(["kill", f"-{number}", str(self.main_pid)])

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, str]:
        """One request from within the box's network: status and body; status 0 when nobody answers."""

        def there() -> tuple[int, str]:
            enter_network(self.box.init)
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
            with contextlib.closing(connection):
                connection.request("POST" if body else "GET", path, body, {"Content-Type": "audio/wav"})
                answer = connection.getresponse()
                return answer.status, answer.read().decode()

        with ThreadPoolExecutor(1) as thread:  # one of its own: it stays in that network
            try:
                return thread.submit(there).result()
            except OSError as e:
                return 0, str(e)

    def pids(self) -> set[int]:
        """Everything in its control group, in the box's numbers."""
        groups = "/sys/fs/cgroup/system.slice"
        text = self.box.run(["find", groups, "-path", f"*/{self.unit}/cgroup.procs", "-exec", "cat", "{}", "+"])
        return set(map(int, text.split()))

    def workers(self) -> list[dict[str, Any]]:
        with contextlib.suppress(ModelwardError):
            found: list[dict[str, Any]] = self.api.get("/v1/workers").data["workers"]
            return found
        return []

    def worker_pids(self) -> set[int]:
        """In the box's numbers."""
        return {int(worker["pid"]) for worker in self.workers()}

    def serves(self, version: str, count: int = 2) -> bool:
        workers = self.workers()
        return len(workers) == count and all(w["state"] == "ready" and w["serving"] == version for w in workers)

    def drop(self, version: Path) -> None:
        """Puts a version in place as an operator does: copied beside, then renamed."""
        beside = self.models / f".{version.name}"
        shutil.copytree(version, beside)
        self.box.run(["chmod", "-R", "a+rX", f"/var/lib/modelward/models/.{version.name}"])
        beside.rename(self.models / version.name)

    def configure(self, text: str = "") -> None:
        """Writes the configuration: `text` after what makes a test quick."""
        usual = '[models]\nsettle = 0.3\nrescan = 1\n[rollout]\nbake = 0\n[panel]\nlisten = ""\n'
        self.box.path("/etc/modelward/modelward.toml").write_text(usual + (text or "[workers]\ncount = 2\ndrain = 5\n"))

    def ready(self, version: str = "dtmf-v1.0") -> None:
        """As every test wants it: configured, running, two workers that serve the version."""
        self.configure()
        if self.state != "active":
            self.box.run(["systemctl", "start", self.unit])
        self.box.run(["modelward", "reload"])
        eventually(lambda: self.serves(version))

    @contextlib.contextmanager
    def load(self, clients: int = 3, *, keep_alive: bool = False) -> Iterator[Load]:
        """Constant clients for as long as the block runs, at least one answer each before and after."""
        audio = clip()
        load = BoxedLoad(self.port, clients, keep_alive, lambda: audio, BREATH_SECONDS, init=self.box.init)
        load.begin()
        try:
            eventually(lambda: len(load.seconds) >= clients)
            yield load
        finally:
            load.end()
