"""The worker socket's doors: descriptors, users, places, and the file itself."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.daemon.workers.peers import (
    HELLO,
    Ears,
    Peer,
    join,
    peers_leave,
    run,
)
from tests.support import PATIENCE_SECONDS, ended_after, soon

from modelward.daemon.system.unix_socket import Credentials, bind, credentials
from modelward.daemon.workers import channel as module
from modelward.daemon.workers.channel import WorkersSocket
from modelward.worker import protocol as p

__all__ = ["peers_leave"]


def test_a_socket_handed_over_with_the_hello_arrives_and_goes_to_no_child(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            peer = Peer(path)
            peer.raw(p.encode(HELLO), (listener.fileno(),))
            await soon(lambda: ears.fds)
            assert not os.get_inheritable(ears.fds[0])
            with socket.socket(fileno=os.dup(ears.fds[0])) as arrived:
                assert arrived.getsockname() == listener.getsockname()

    run(tmp_path, work)


@pytest.mark.parametrize("ending", ["hello", "silence", "garbage"])
def test_descriptors_nobody_asked_for_are_closed_and_nothing_else_is(tmp_path: Path, ending: str) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        good = await join(ears, path)
        before = len(os.listdir("/proc/self/fd"))
        peer = Peer(path)
        with open("/dev/null") as f:
            first = p.encode(HELLO)
            for byte in first[:12]:  # over and over before the hello, eight at a time
                peer.raw(bytes([byte]), (f.fileno(),) * 8)
                await asyncio.sleep(0.002)
            if ending == "hello":
                peer.raw(first[12:], (f.fileno(),) * 8)
                await soon(lambda: len(ears.lines) == 2)
                peer.raw(p.encode(p.Beat()), (f.fileno(),) * 8)
                await soon(lambda: ears.heard)
                assert len(ears.fds) == 1
            elif ending == "garbage":
                peer.raw(b"\n", (f.fileno(),))
                await peer.cut_off()
        peer.close()
        await soon(lambda: len(os.listdir("/proc/self/fd")) == before + len(ears.fds))
        good.say(p.Beat(requests=3))
        await soon(lambda: ears.heard and ears.heard[-1] == p.Beat(requests=3))

    run(tmp_path, work)


# who may come


def test_another_user_is_turned_away_by_the_file_and_again_by_the_kernels_word(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to be another user")
    code = """
import os, socket, sys
os.setgroups([4242]); os.setgid(54321); os.setuid(54321)
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.send(b'{"type": "hello", "pid": 1}\\n')
    print(s.recv(100))
except OSError as e:
    print(e.strerror)
"""

    async def connect(path: Path) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", "-S", "-c", code, str(path)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return done.stdout.strip()

    asked: list[Credentials] = []

    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        for directory in (tmp_path, *tmp_path.parents):
            if directory.stat().st_uid == os.geteuid() and directory != Path("/"):
                with suppress(PermissionError):
                    directory.chmod(directory.stat().st_mode | 0o011)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert await connect(path) == "Permission denied"
        assert asked == []
        path.chmod(0o666)  # somebody loosened it
        assert await connect(path) in ("b''", "Connection reset by peer", "Broken pipe")
        assert [(who.uid, who.gid, who.groups) for who in asked] == [(54321, 54321, (4242,))]
        assert ears.lines == []

    def refuse(who: Credentials) -> bool:
        asked.append(who)
        return False

    run(tmp_path, work, allowed=refuse)


@pytest.mark.parametrize(("count", "known"), [(3, True), (300, False)])
def test_groups_that_the_kernel_does_not_name_are_unknown_and_not_none(tmp_path: Path, count: int, known: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to be in other groups")
    path = tmp_path / "s"
    with bind(path) as door:
        joins = f"import os, socket; os.setgroups(range(5000, {5000 + count})); s = socket.socket(socket.AF_UNIX)"
        code = f"{joins}; s.connect({str(path)!r}); s.recv(1)"
        with ended_after(subprocess.Popen([sys.executable, "-c", code])) as child:
            door.settimeout(PATIENCE_SECONDS)
            with door.accept()[0] as peer:
                who = credentials(peer)
            assert who.pid == child.pid and who.uid == 0
    assert who.groups == (tuple(range(5000, 5000 + count)) if known else None)


def test_other_users_can_not_take_all_places(tmp_path: Path) -> None:
    stranger = Credentials(1, 54321, 54321)
    assert stranger.stranger
    assert not Credentials(1, os.geteuid(), 54321).stranger
    assert not Credentials(1, 0, 54321).stranger
    assert module.MAX_STRANGERS < module.MAX_CONNECTIONS


def test_beyond_the_most_connections_newcomers_wait_for_a_place_and_nobody_leaves(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        peers = [await join(ears, path) for _ in range(module.MAX_CONNECTIONS)]
        for _ in range(3):
            late = Peer(path)
            await late.cut_off()
        assert ears.ended == []
        peers[7].close()
        await soon(lambda: ears.ended)
        await join(ears, path)
        for peer in peers[:7] + peers[8:]:
            peer.close()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
    try:
        run(tmp_path, work)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_it_waits_quietly_and_goes_on_later(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        good = await join(ears, path)
        late = Peer(path)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        gaps = [os.open("/dev/null", os.O_RDONLY)]
        while gaps[-1] < max(map(int, os.listdir("/proc/self/fd"))) - 1:
            gaps.append(os.open("/dev/null", os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (gaps[-1] + 1, hard))
        try:
            late.say(HELLO)
            used = time.process_time()
            await asyncio.sleep(0.5)
            used = time.process_time() - used
            good.say(p.Beat())
            await soon(lambda: ears.heard)
            assert len(ears.lines) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in gaps:
                os.close(fd)
        assert used < 0.25, "it span"
        await soon(lambda: len(ears.lines) == 2)

    run(tmp_path, work)


# the socket's file


@pytest.mark.parametrize("damage", ["removed", "directory removed", "replaced by a file", "replaced by a socket"])
def test_a_socket_file_that_was_taken_away_is_made_again_and_no_line_is_lost(tmp_path: Path, damage: str) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        good = await join(ears, path)
        assert not await channel.heal()
        path.unlink()
        other = None
        if damage == "directory removed":
            path.parent.rmdir()
        elif damage == "replaced by a file":
            path.touch()
        elif damage == "replaced by a socket":
            other = bind(path)
        assert await channel.heal()
        assert not await channel.heal()
        await join(ears, path)
        good.say(p.Beat())
        await soon(lambda: ears.heard)
        assert ears.ended == []
        if other is not None:
            other.close()

    (tmp_path / "run").mkdir()
    run(tmp_path / "run", work)


def test_a_socket_that_can_not_be_made_again_is_tried_at_the_next_look(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        path.unlink()
        path.parent.rmdir()
        path.parent.touch()
        for _ in range(3):
            with pytest.raises(OSError, match="exists|directory"):
                await channel.heal()
        path.parent.unlink()
        assert await channel.heal()
        await join(ears, path)

    (tmp_path / "run").mkdir()
    run(tmp_path / "run", work)


def test_what_a_dead_daemon_left_is_replaced_and_the_mode_holds_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "workers.sock"
    bind(path).close()
    mask = os.umask(0o077)
    try:
        with bind(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with bind(path, 0o600):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(mask)
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        bind(tmp_path / ("x" * 120))


def test_closing_takes_away_its_own_file_only(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "workers.sock"
        channel = WorkersSocket(path, Ears(), lambda who: True)
        await channel.open()
        peer = Peer(path)
        path.unlink()
        successor = bind(path)
        await channel.close()
        await channel.close()
        assert path.exists()
        await peer.cut_off()
        successor.close()

    asyncio.run(work())
