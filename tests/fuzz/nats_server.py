"""A server that speaks as much of NATS as the fleet's client needs, and answers what a test scripts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Final

Answer = tuple[bytes, bytes]
"""Headers as they are sent, b"" for none, and the data."""
_INFO: Final = {"server_id": "x", "version": "2.11.0", "proto": 1, "headers": True, "max_payload": 1 << 20}


class HostileNats:
    """Answers the n-th request with the n-th answer, and all others with the last one."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers, self._asked = answers, 0
        self._ids: dict[bytes, bytes] = {}
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> str:
        """The address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        self._writers.append(writer)
        writer.write(b"INFO " + json.dumps(_INFO).encode() + b"\r\n")
        try:
            while line := await reader.readline():
                words = line.split()
                if words[:1] == [b"PING"]:
                    writer.write(b"PONG\r\n")
                elif words[:1] == [b"SUB"]:
                    self._ids[words[1]] = words[-1]
                elif words[:1] in ([b"PUB"], [b"HPUB"]):
                    await reader.readexactly(int(words[-1]) + 2)
                    if len(words) > (3 if words[0] == b"PUB" else 4):
                        self._answer(words[2], writer.write)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass

    def _answer(self, reply: bytes, write: Callable[[bytes], None]) -> None:
        subject = next((s for s in self._ids if s == reply or reply.startswith(s.rstrip(b"*>"))), b"")
        headers, data = self._answers[min(self._asked, len(self._answers) - 1)]
        self._asked += 1
        head, size = (
            (b"HMSG", b"%d %d" % (len(headers), len(headers) + len(data))) if headers else (b"MSG", b"%d" % len(data))
        )
        write(b" ".join((head, reply, self._ids.get(subject, b"1"), size)) + b"\r\n" + headers + data + b"\r\n")
