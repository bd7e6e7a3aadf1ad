"""The watch wakes, and every way it can break heals at the next look."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.roots import IN_ROOT
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.models import link
from modelward.daemon.models.scan import scan_root
from modelward.daemon.models.snapshot import Names, RootSeen
from modelward.daemon.models.watch import Watch

Check = Callable[[], bool]


class Bell:
    """Counts wake-ups."""

    def __init__(self) -> None:
        self.rung = threading.Event()
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        self.rung.set()

    def rings_for(self, act: Callable[[], object]) -> bool:
        """That it rings after `act`."""
        self.rung.clear()
        act()
        return self.rung.wait(PATIENCE_SECONDS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    for name in ("v1.0", "v1.1"):
        (models / name).mkdir(parents=True)
    (models / "current").symlink_to("v1.0")
    return models


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def watch(root: Path, bell: Bell) -> Iterator[Watch]:
    watch = Watch(root, bell)
    yield watch
    watch.stop()


def sh(root: Path, command: str) -> Callable[[], object]:
    return lambda: subprocess.run(["sh", "-c", command], cwd=root.parent, check=True)


@pytest.mark.parametrize(
    "way",
    [
        "cd models && ln -sfn v1.1 current",
        "cd models && ln -s v1.1 .t && mv -T .t current",
        "ln -s v1.1 made-elsewhere && mv -T made-elsewhere models/current",
        "cd models && rm current && ln -s v1.1 current",
        "mkdir aside && mv aside models/v1.2",
        "mkdir models/v1.2",
        "rmdir models/v1.0",
    ],
)
def test_wakes_for_every_way_to_move_the_link_or_drop_a_version(root: Path, watch: Watch, bell: Bell, way: str) -> None:
    assert watch.check() == f"watching {root}"
    assert bell.rings_for(sh(root, way))
    assert watch.check() == ""


def test_reading_the_models_wakes_nobody(root: Path, watch: Watch, bell: Bell) -> None:
    (root / "v1.0" / "model.onnx").write_text("x")
    watch.check()
    for _ in range(1000):
        os.listdir(root)
        os.listdir(root / "v1.0")
        (root / "v1.0" / "model.onnx").read_text()
        os.readlink(root / "current")
    assert bell.rings_for(lambda: (root / "last").touch())
    assert bell.count == 1


def test_a_root_that_is_missing_at_the_start_is_watched_when_it_comes(tmp_path: Path, bell: Bell) -> None:
    watch = Watch(tmp_path / "late", bell)
    try:
        assert "No such file" in watch.check()
        assert (watch.state, watch.check()) == ("polling", "")
        (tmp_path / "late").mkdir()
        assert watch.check() == f"watching {tmp_path / 'late'}"
        assert bell.rings_for((tmp_path / "late" / "v1").mkdir)
    finally:
        watch.stop()


@pytest.mark.parametrize(
    "fault",
    ["rm -r models && mkdir models", "mv models old && mkdir models", "mv models old && cp -r old models"],
)
def test_a_root_that_was_replaced_is_watched_again(root: Path, watch: Watch, bell: Bell, fault: str) -> None:
    watch.check()
    sh(root, fault)()
    watch.check()
    assert bell.rings_for((root / "v9").mkdir)
    old = root.parent / "old"
    if old.exists():
        before = bell.count
        (old / "v8").mkdir()
        assert bell.rings_for((root / "v10").mkdir)
        assert bell.count <= before + 1


def test_anybody_may_ask_whether_its_threads_live(root: Path, watch: Watch) -> None:
    assert not watch.alive()
    watch.check()
    assert watch.alive()
    watch.stop()
    assert not watch.alive()


def test_a_root_that_is_gone_and_comes_back_is_told_both_times(root: Path, watch: Watch, bell: Bell) -> None:
    watch.check()
    root.rename(root.parent / "aside")
    assert "looking by the timer alone" in watch.check()
    (root.parent / "aside").rename(root)
    assert watch.check() == f"watching {root}"
    assert bell.rings_for((root / "v9").mkdir)


def test_a_root_reached_through_a_link_is_watched_where_it_is(root: Path, bell: Bell) -> None:
    alias = root.parent / "alias"
    alias.symlink_to(root)
    watch = Watch(alias, bell)
    try:
        watch.check()
        assert bell.rings_for((root / "v9").mkdir)
    finally:
        watch.stop()


def test_a_thread_of_the_watch_that_died_is_replaced_at_the_next_look(root: Path, bell: Bell) -> None:
    armed = {thread.ident for thread in threading.enumerate()}
    watch = Watch(root, bell)
    try:
        watch.check()
        first = [t for t in threading.enumerate() if t.ident not in armed]
        assert first
        for thread in first:
            thread.stop()  # type: ignore[attr-defined]
            eventually(lambda t=thread: not t.is_alive())  # type: ignore[misc]
            watch.check()
            assert bell.rings_for((root / f"v-{thread.name}").mkdir)
    finally:
        watch.stop()


def test_a_wake_that_fails_once_is_tried_at_the_next_event(root: Path) -> None:
    bell, failed = Bell(), threading.Event()

    def wake() -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("Event loop is closed")
        bell()

    watch = Watch(root, wake)
    try:
        watch.check()
        (root / "v8").mkdir()
        assert failed.wait(PATIENCE_SECONDS)
        assert bell.rings_for((root / "v9").mkdir)
    finally:
        watch.stop()


def test_stopping_leaves_no_thread_and_no_descriptor(root: Path, bell: Bell) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        watch = Watch(root, bell)
        watch.check()
        watch.stop()
    eventually(lambda: threading.active_count() <= threads)
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def test_children_do_not_inherit_the_watch(watch: Watch) -> None:
    watch.check()
    code = "import os; print([os.readlink(f'/proc/self/fd/{f}') for f in os.listdir('/proc/self/fd') if int(f) > 3])"
    listed = subprocess.run([sys.executable, "-c", code], close_fds=False, capture_output=True, text=True, check=False)
    assert "inotify" not in listed.stdout


def test_a_swap_is_found_by_the_look_though_its_event_was_lost(root: Path, bell: Bell) -> None:
    """Nobody watches at all: a lost event heals at the next look."""
    link.switch(root, "current", "v1.1")
    sight = scan_root(root, IN_ROOT)
    assert isinstance(sight, RootSeen)
    assert sight.link == Names("v1.1")
    assert bell.count == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs its own user namespace with inotify limits")
@pytest.mark.parametrize("limit", ["max_user_watches", "max_user_instances"])
def test_at_the_systems_limit_it_says_so_once_and_polls(root: Path, limit: str) -> None:
    code = f"""
from pathlib import Path
from modelward.daemon.models.watch import Watch
path = Path("/proc/sys/user/{limit.replace("max_user", "max_inotify")}")
path.write_text("0")
watch = Watch(Path({str(root)!r}), lambda: None)
print(watch.check()); print(repr(watch.check())); print(watch.state)
path.write_text("100")
print(watch.check())
watch.stop()
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / ".imports")}
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    first, second, state, healed = done.stdout.splitlines()
    assert limit in first
    assert "looking by the timer alone" in first
    assert (second, state, healed) == ("''", "polling", f"watching {root}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount in a namespace of its own")
def test_a_root_that_is_mounted_over_is_watched_where_it_is_visible(root: Path) -> None:
    code = f"""
import subprocess, threading
from pathlib import Path
from modelward.daemon.models.link_place import LinkPlace
from modelward.daemon.models.scan import scan_root
from modelward.daemon.models.watch import Watch
IN_ROOT = LinkPlace("current", "")
root, rung = Path({str(root)!r}), threading.Event()
def rings(name):
    rung.clear(); (root / name).mkdir(); return rung.wait({PATIENCE_SECONDS})
watch = Watch(root, rung.set)
before = scan_root(root, IN_ROOT)
watch.check(); print(rings("v2"))
subprocess.run(["mount", "-t", "tmpfs", "none", root], check=True)
over = scan_root(root, IN_ROOT)
print(over.identity != before.identity, over.versions, over.link)
watch.check(); print(rings("v3"))
subprocess.run(["umount", "-l", root], check=True)
watch.check(); print(rings("v4"))
print(scan_root(root, IN_ROOT).link == before.link)
watch.stop()
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / ".imports")}
    command = ["unshare", "--mount", sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert done.stdout.splitlines() == ["True", "True () there is no link", "True", "True", "True"], done.stderr
