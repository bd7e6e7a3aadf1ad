"""A download of a log: all its lines under a dated name, one at a time, and its place is free again however it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.upkeep.clocks import HandClock
from tests.daemon.upkeep.logs.test_follow import append, rotate
from tests.support import eventually, open_paths

from modelward.daemon.api.streams import HeldStream
from modelward.daemon.config.load import parse
from modelward.daemon.controllers.log_downloads import LogDownloads
from modelward.daemon.errors import NotKnown, Refused
from modelward.daemon.upkeep.service import Upkeep

Message = MutableMapping[str, Any]


def during(directory: Path, work: Callable[[LogDownloads], Awaitable[None]]) -> None:
    extra = f'[[logs.extra]]\npath = "{directory}/a.log"\nmethod = "rename"'
    config = parse(f'[logs]\ndir = "{directory}"\n{extra}', "test")
    upkeep = Upkeep(lambda: config, HandClock())

    async def go() -> None:
        await work(LogDownloads(upkeep, HandClock(wall=1_796_083_200.0)))

    try:
        asyncio.run(go())
    finally:
        upkeep.close()
    eventually(lambda: str(directory / "a.log") not in open_paths(os.getpid()))


async def answered(stream: HeldStream, *, leaves: bool = False) -> bytes:
    """What a client gets; one that leaves goes when the answer begins."""
    parts, gone = [], asyncio.Event()

    async def send(message: Message) -> None:
        parts.append(message.get("body", b""))
        if leaves:
            gone.set()
            await asyncio.Event().wait()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    await stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    return b"".join(parts)


def test_all_lines_come_with_the_archives_first_and_a_second_download_waits(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "in the archive")
    rotate(tmp_path, "rename", compress="gzip")
    append(tmp_path / "a.log", "live")

    async def work(downloads: LogDownloads) -> None:
        found = await downloads.files("a")
        assert (found.name, found.archives, found.file, found.busy) == ("a.log", 1, "a-2026-12-01.log", False)
        stream = await downloads.begin("a.log", head_only=False)
        assert isinstance(stream, HeldStream)
        assert stream.headers["content-disposition"] == "attachment; filename*=UTF-8''a-2026-12-01.log"
        with pytest.raises(Refused, match=r"cannot send a\.log: another log is being downloaded"):
            await downloads.begin("a.log", head_only=False)
        assert (await downloads.begin("a.log", head_only=True)).status_code == 200
        assert await answered(stream) == b"in the archive\nlive\n"
        assert not (await downloads.files("a")).busy

    during(tmp_path, work)


def test_a_client_that_leaves_frees_the_place_and_the_file(tmp_path: Path) -> None:
    append(tmp_path / "a.log", *(f"{i:0100d}" for i in range(10_000)))

    async def work(downloads: LogDownloads) -> None:
        stream = await downloads.begin("a.log", head_only=False)
        assert isinstance(stream, HeldStream)
        await answered(stream, leaves=True)
        assert not (await downloads.files("a")).busy

    during(tmp_path, work)


def test_one_that_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "live")
    over: list[None] = []

    async def work(downloads: LogDownloads) -> None:
        async def never() -> Any:
            yield b"a piece"
            await asyncio.Event().wait()

        await answered(HeldStream(never(), lambda: over.append(None), seconds=0.05))
        assert over == [None]

    during(tmp_path, work)


def test_no_other_file_is_sent(tmp_path: Path) -> None:
    append(tmp_path / "secret.txt", "x")

    async def work(downloads: LogDownloads) -> None:
        for name in ("secret.txt", "../secret.txt", "nosuch"):
            with pytest.raises(NotKnown, match="no log of that name"):
                await downloads.begin(name, head_only=False)

    during(tmp_path, work)
