"""Starts the sweeping process, answers its questions and reads its result.

Its time and its messages are bounded. If it fails, the daemon continues, and the error is one sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ...errors import Refused
from ...system import background
from . import sweeper_protocol
from .sweeper_protocol import (
    Counted,
    Counting,
    CountRequest,
    Question,
    SweepRequest,
    Swept,
)

MODULE: Final = "modelward.daemon.upkeep.disk.sweeper_process"
GRACE_SECONDS: Final = 2.0
KILL_SECONDS: Final = 10.0
"""The longest wait for the end of a killed child. A child that hangs in the kernel does not end."""


class SweeperChild(Protocol):
    """What is used of a started process; `system.processes.ChildProcess` has it."""

    async def wait(self) -> int | None: ...
    def kill_group(self) -> None: ...
    def close(self) -> None: ...


class SpawnSweeper(Protocol):
    """Starts a process, as `system.processes.spawn` does. Raises OSError when the system has no process to give."""

    def __call__(self, argv: Sequence[str], *, name: str, pass_fds: Sequence[int] = ()) -> SweeperChild: ...


async def run(
    request: SweepRequest | CountRequest,
    spawn: SpawnSweeper,
    argv: Sequence[str],
    *,
    seconds: float,
    why_keep: Callable[[str, str], str],
    progress: Callable[[Counting], None] = lambda counting: None,
) -> Swept | Counted:
    """Runs one request and returns its result.

    `argv` starts the sweeper (`processes.python(MODULE)`); its descriptor is added. `why_keep(class, unit)` is called
    on the event loop. Raises Refused with a sentence when there is no result; the child has been killed by then.
    """
    ours, theirs = socket.socketpair()
    try:
        child = spawn(
            [*argv, str(theirs.fileno())], name=f"upkeep {type(request).__name__}", pass_fds=(theirs.fileno(),)
        )
    except OSError as e:
        ours.close()
        raise Refused(f"cannot start a sweep: {e.strerror}; nothing was removed") from e
    finally:
        theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours, limit=sweeper_protocol.MAX_LINE_BYTES)
    try:
        async with asyncio.timeout(seconds):
            writer.write(sweeper_protocol.encode(request))
            return await background.reader(_converse(reader, writer, why_keep, progress), "the sweeper")
    except TimeoutError as e:
        raise Refused(f"cannot finish the sweep: no end within {seconds:.0f} s; it was stopped") from e
    except (ValueError, ConnectionError) as e:
        raise Refused(f"cannot finish the sweep: its process broke off ({e or type(e).__name__})") from e
    finally:
        writer.close()
        for seconds in (GRACE_SECONDS, KILL_SECONDS):  # it was killed before
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await child.wait()
            child.kill_group()
        child.close()


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    why_keep: Callable[[str, str], str],
    progress: Callable[[Counting], None],
) -> Swept | Counted:
    while True:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("no result")
        message = sweeper_protocol.read_reply(line)
        if isinstance(message, Question):
            writer.write(sweeper_protocol.encode(why_keep(message.rule, message.unit)))
        elif isinstance(message, Counting):
            progress(message)
        else:
            return message
