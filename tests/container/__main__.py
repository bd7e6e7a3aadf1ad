"""`make image`: builds the image, prints its size, and checks what it promises in a real container.

Some minutes, and a download of 150 MB. Where tools or rights are missing it is skipped and the reason printed. The base
is kept in ~/.cache; the image is built anew each time. Words behind it go to the build: --build-arg=EXTRAS=media.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.container.engine import IMAGE, Engine, missing
from tests.house import Load, clip, free_port
from tests.support import eventually
from tests.versions import good_version

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelward" / "image"
VERSION: Final = "dtmf-v1.0"
STRICT: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host")
HERE: Final = ("--cgroups=disabled", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
"""What a small machine without control groups of its own needs."""


class Counted(io.RawIOBase):
    """Counts what is written to it."""

    size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.size_bytes += len(data)
        return len(data)


def sizes(engine: Engine) -> tuple[float, float, list[str]]:
    """MB of the image's files, MB compressed as a registry would have them, and what must not be in it."""
    name = engine.run("from", IMAGE, tool="buildah")
    try:
        root = Path(engine.run("mount", name, tool="buildah").split()[-1])
        files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        counted = Counted()
        with gzip.GzipFile(fileobj=io.BufferedWriter(counted), mode="wb", compresslevel=6) as packed:
            for path in files:
                packed.write(path.read_bytes())
        wrong = ["/" + str(path.relative_to(root)) for path in files if _wrong(path)]
        return sum(path.stat().st_size for path in files) / 1e6, counted.size_bytes / 1e6, wrong
    finally:
        engine.run("rm", name, tool="buildah")


def _wrong(path: Path) -> bool:
    """Tools to build with, pip, and programs that gain rights."""
    return path.name in ("pip", "pip3", "gcc", "cc", "make", "ld") or bool(path.stat().st_mode & 0o6000)


@contextlib.contextmanager
def running(engine: Engine, data: Path, *words: str) -> Iterator[tuple[str, int]]:
    """A container with a model in its volume: its name and its port."""
    name, port = f"modelward-{data.name}", free_port()
    variables = [f"MODELWARD_WORKERS__LISTEN=127.0.0.1:{port}", "MODELWARD_WORKERS__COUNT=2"]
    variables += ["MODELWARD_PANEL__LISTEN=127.0.0.1:0", "MODELWARD_VALIDATION__COMPILE=off"]
    given = [word for variable in variables for word in ("--env", variable)]
    engine.run("run", "--detach", "--name", name, *STRICT, *HERE, f"--volume={data}:/data", *given, *words, IMAGE)
    try:
        eventually(lambda: _ready(engine, name))
        yield name, port
    except BaseException:
        logs = engine.call("logs", name)
        print(logs.stdout[-10_000:], logs.stderr[-10_000:])
        raise
    finally:
        engine.call("rm", "--force", "--time=0", name)


def _ready(engine: Engine, name: str) -> bool:
    assert engine.run("inspect", "--format={{.State.Running}}", name) == "true", "it ended"
    return engine.call("exec", name, "modelward", "health").returncode == 0


def answer(engine: Engine, name: str, verb: str) -> dict[str, Any]:
    """What a command in the container answers; {} while it reaches no daemon."""
    done = engine.call("exec", name, "modelward", verb, "--json")
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def check_life(engine: Engine, data: Path) -> None:
    """Serves, is restarted in place and stopped under load: nothing is lost."""
    with running(engine, data) as (name, port):
        status = engine.run("exec", name, "modelward", "status")
        assert VERSION in status and "from the environment: " in status
        before = answer(engine, name, "workers")["workers"]
        assert [worker["confinement"] for worker in before] == ["no new privileges, landlock, seccomp"] * 2
        assert (data / "state" / "panel.token").stat().st_uid == 12345
        assert engine.call("exec", name, "touch", "/x").returncode != 0
        load = Load(port, 4, True, clip, 0.05)
        load.begin()
        daemon = answer(engine, name, "status")["pid"]
        engine.run("kill", "--signal=QUIT", name)
        eventually(lambda: answer(engine, name, "status").get("pid", daemon) != daemon)
        eventually(lambda: engine.call("exec", name, "modelward", "health").returncode == 0)
        assert {w["pid"] for w in answer(engine, name, "workers")["workers"]} == {w["pid"] for w in before}
        engine.run("stop", name)
        load.end()
        answered = sum(load.answers.values())
        taken = engine.run("logs", name).count('"path":"/api/predict"')
        print(f"{answered} answers through a restart in place and podman stop, {taken - answered} lost")
        assert taken == answered and load.refused == {}
        assert engine.run("inspect", "--format={{.State.ExitCode}}", name) == "0"


def check_any_user(engine: Engine, data: Path) -> None:
    """A user without a name, as OpenShift gives one, with a volume of its own that is empty but for a model."""
    for path in (data, *data.rglob("*")):
        os.chown(path, 54321, 0)
    with running(engine, data, "--user=54321:0") as (name, _):
        assert "uid=54321" in engine.run("exec", name, "id")


def check_refusal(engine: Engine) -> None:
    """A mistake ends the container at once, with its name."""
    done = engine.call("run", "--rm", *STRICT, *HERE, "--env=MODELWARD_WORKERS__CUONT=2", IMAGE)
    assert done.returncode == 2 and "did you mean MODELWARD_WORKERS__COUNT?" in done.stderr, done


def main(words: Sequence[str]) -> int:
    """0 when it does what it promises, or was skipped."""
    if because := missing():
        print(f"skipped: {because}")
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    engine = Engine(CACHE)
    engine.make_base()
    engine.build(*words)
    engine.run("image", "prune", "--force")
    whole, packed, wrong = sizes(engine)
    print(f"image: {whole:.0f} MB of files, {packed:.0f} MB compressed")
    assert wrong == [], wrong
    check_refusal(engine)
    for check in (check_life, check_any_user):
        data = Path(tempfile.mkdtemp(prefix="modelward-image-"))
        try:
            data.chmod(0o750)
            (data / "models").mkdir()
            good_version(data / "models", VERSION)
            for path in (data, *data.rglob("*")):
                os.chown(path, 12345, 12345)
            check(engine, data)
        finally:
            shutil.rmtree(data, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
