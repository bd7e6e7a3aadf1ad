"""One connection to a NATS server: made when it is needed, dropped when it does not answer, with a limit on everything.

The client's own reconnecting is not used: whoever asks decides when to ask again. What is read is read by single
messages of a stream, so that no consumer is made on the server and a machine needs no right to make one. Invariant:
each request ends within ANSWER_SECONDS, by an answer or EngineAway; a message has at most MAX_MESSAGE_BYTES.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import ssl
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import nats.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.protocol.parser import ErrProtocol, Parser

from ...worker.shared.started import awaited
from ..system.safe_read import open_regular
from .engine import EngineAway, NoRight, NotOffered
from .nats_answers import ServerAnswer, StreamAnswer, decoded, shown
from .nats_names import OPERATOR, inbox

CONNECT_SECONDS: Final = 10
PING_SECONDS: Final = 20
ANSWER_SECONDS: Final = 10.0
MAX_MESSAGE_BYTES: Final = 8 << 20
MAX_PENDING_BYTES: Final = 2 << 20
MAX_CREDENTIALS_BYTES: Final = 64 << 10
WINDOW: Final = 8
"""So many requests of one list are under way at a time."""
_MISSING: Final = ("404", "408")
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_REMARK: Final = re.compile("eof_received\\(\\) has no effect when using ssl")
_UNHEARD: Final = re.compile("permissions violation for subscription")
A = TypeVar("A", bound=ServerAnswer)


class NatsAccess(Struct, frozen=True):
    """How servers are reached. `name` is what this client is called there; its answers come to an inbox of that name.

    `credentials` and `ca_file` are paths, "" for none. The first file holds what NATS calls credentials (a token and
    a seed), a seed alone, or a line `user:password`. Both are read for each connection: they may be replaced.
    """

    servers: tuple[str, ...]
    name: str
    credentials: str = ""
    ca_file: str = ""


class StoredMessage(Struct, frozen=True):
    """A message of a stream. `at` is when the server stored it, by its clock, in wall seconds."""

    subject: str
    sequence: int
    at: float
    data: bytes


def _counts(line: logging.LogRecord) -> bool:
    return not _REMARK.search(str(line.msg))


logging.getLogger("asyncio").addFilter(_counts)  # the client leaves it to asyncio, at the end of each TLS connection


class _BoundedParser(Parser):
    """Ends a connection whose server announces or sends more than a message may have."""

    async def parse(self, data: bytes = b"") -> None:
        await super().parse(data)
        if self.needed > MAX_MESSAGE_BYTES or len(self.buf) > MAX_MESSAGE_BYTES + MAX_PENDING_BYTES:
            raise ErrProtocol


class _TlsClient(Client):
    """Gives no server a secret before the connection is encrypted: the client by itself leaves that to the server."""

    def _connect_command(self) -> bytes:
        if not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server offers no TLS, and tls:// or a ca_file requires it")
        return super()._connect_command()


class NatsConnection:
    """See the module. `news` is set when a message of a subject in `wakes` comes; not while there is no connection."""

    def __init__(self, access: NatsAccess, *, wakes: tuple[str, ...] = ()) -> None:
        self._access, self._wakes = access, wakes
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._next_server = 0
        self._last_error, self._broken, self._unheard = "", False, False
        self._refusals: dict[str, asyncio.Future[str]] = {}
        self.news = asyncio.Event()

    async def close(self) -> None:
        """Ends the connection; a later request makes another one."""
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            await _end(client)

    async def client(self) -> Client:
        """The connection, made if there is none: one try, at the next of the servers. Raises EngineAway."""
        async with self._connecting:
            if self._client is not None and self._client.is_connected and not self._broken:
                return self._client
            await self.close()
            server = self._access.servers[self._next_server % len(self._access.servers)]
            self._next_server += 1
            try:
                options = await asyncio.to_thread(_options, self._access, server)
            except (OSError, ValueError) as e:
                raise EngineAway(f"cannot read what the server requires: {e}") from e
            client = _TlsClient() if "tls" in options else Client()
            client._ps = _BoundedParser(client)
            self._last_error, self._broken, self._unheard = "", False, False
            try:
                async with asyncio.timeout(2 * CONNECT_SECONDS):
                    await client.connect(
                        server,
                        name=f"modelward {self._access.name}",
                        inbox_prefix=inbox(self._access.name),
                        error_cb=self._on_error,
                        allow_reconnect=False,
                        max_reconnect_attempts=1,
                        connect_timeout=CONNECT_SECONDS,
                        ping_interval=PING_SECONDS,
                        max_outstanding_pings=2,
                        pending_size=MAX_PENDING_BYTES,
                        **options,
                    )
                    for subject in self._wakes:
                        await client.subscribe(subject, cb=self._on_news, pending_msgs_limit=64)
            except (OSError, nats.errors.Error, TimeoutError, ErrProtocol, ValueError) as e:
                await _end(client)
                raise EngineAway(f"no connection to {server}: {self._last_error or _why(e)}") from e
            self._client = client
            return client

    async def request(self, subject: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> Msg:
        """The answer. Raises EngineAway, and NotOffered where nothing takes such requests."""
        client = await self.client()
        more = dict(headers) if headers else None
        return await self._answer(client, client.request(subject, data, timeout=ANSWER_SECONDS, headers=more), subject)

    async def api(self, subject: str, body: Mapping[str, Any] | None, kind: type[A]) -> A:
        """A request of the server's administration, answered by JSON. Raises EngineAway."""
        message = await self.request(f"$JS.API.{subject}", json.dumps(body).encode() if body else b"")
        answer = decoded(message.data, kind, "the server's answer")
        if (found := answer.error) is not None:
            why = NotOffered if found.code == 404 else EngineAway
            raise why(f"the server refused {subject}: {found.because}")
        return answer

    async def server_release(self) -> tuple[int, int]:
        """That of the server which answers. Raises EngineAway."""
        found = (await self.client()).connected_server_version
        return found.major, found.minor

    async def subjects(self, stream: str, pattern: str, most: int) -> list[str]:
        """All subjects of a stream that match. Raises EngineAway, also where there are more than `most`."""
        found = list[str]()
        while len(found) <= most:
            body = {"subjects_filter": pattern, "offset": len(found)}
            answer = await self.api(f"STREAM.INFO.{stream}", body, StreamAnswer)
            found += answer.subjects
            if not answer.subjects or len(found) >= answer.total:
                return found
        raise EngineAway(f"{stream} has more than {most} subjects like {pattern}")

    async def last(self, stream: str, subject: str) -> StoredMessage | None:
        """The newest message of a subject; None where there is none. Raises EngineAway."""
        async for found in self.messages(stream, [{"last_by_subj": subject}]):
            return found
        return None

    async def messages(
        self, stream: str, queries: Iterable[Mapping[str, Any]]
    ) -> AsyncGenerator[StoredMessage | None, None]:
        """The answer to each query, in their order; None where there is no such message. A few are asked for at a time.

        Raises EngineAway.
        """
        client, subject = await self.client(), f"$JS.API.DIRECT.GET.{stream}"
        box = f"{inbox(self._access.name)}.{client._nuid.next().decode()}"
        waiting, asked, given = dict[int, StoredMessage | None](), 0, 0
        remaining = iter(queries)
        with self._ending(client, subject):
            answers = await client.subscribe(f"{box}.*", pending_msgs_limit=4 * WINDOW)
        try:
            over = False
            while True:
                while not over and asked - given < WINDOW:
                    query = next(remaining, None)
                    if query is None:
                        over = True
                        break
                    with self._ending(client, subject):
                        await client.publish(subject, json.dumps(query).encode(), reply=f"{box}.{asked}")
                    asked += 1
                if given == asked:
                    return
                while given not in waiting:
                    try:
                        message = await self._answer(client, answers.next_msg(timeout=ANSWER_SECONDS), subject)
                    except (NotOffered, NoRight):
                        raise
                    except EngineAway:
                        await self._if_alive(client, stream)
                        raise
                    number = message.subject.rpartition(".")[2]
                    if number.isascii() and number.isdecimal() and given <= int(number) < asked:
                        waiting[int(number)] = _stored(message, stream)
                yield waiting.pop(given)
                given += 1
        finally:
            with suppress(OSError, nats.errors.Error):
                await answers.unsubscribe()

    async def _if_alive(self, client: Client, stream: str) -> None:
        """A server without a stream answers nothing about it. Raises NotOffered where it answers otherwise."""
        with suppress(OSError, nats.errors.Error, TimeoutError):
            await client.flush(timeout=2)
            self._broken = False
            raise NotOffered(f"the server has no {stream}: `modelward fleet publish` makes it")

    @contextmanager
    def _ending(self, client: Client, subject: str) -> Iterator[None]:
        """What a call raises becomes EngineAway; a connection that does not answer is made anew the next time."""
        try:
            yield
        except nats.errors.NoRespondersError:
            raise NotOffered("the server has nothing of this fleet: `modelward fleet publish` puts it there") from None
        except TimeoutError:  # of nats too
            self._broken = self._broken or client is self._client
            raise EngineAway(f"the server did not answer within {ANSWER_SECONDS:g} s") from None
        except (OSError, nats.errors.Error, ErrProtocol) as e:
            raise EngineAway(f"the connection to the server broke: {_why(e)}") from e

    async def _answer(self, client: Client, answering: Coroutine[Any, Any, Msg], subject: str) -> Msg:
        """What comes, unless the server refuses the request meanwhile: it reports that apart from the answer."""
        refused = self._refusals.setdefault(subject.lower(), asyncio.get_running_loop().create_future())
        task = awaited(answering, "fleet request")
        task.add_done_callback(_seen)
        try:
            waits: set[asyncio.Future[Any]] = {task, refused}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._unheard:  # no answer will come, and a time that ran out would not be the reason
                self._broken = True
                raise NoRight(_not_admitted(self._access.name))
            if not task.done():
                raise NoRight(f"the server refused {subject}: {refused.result()}")
            with self._ending(client, subject):
                return task.result()
        finally:
            self._refusals.pop(subject.lower(), None)
            if not task.done():  # its end is awaited: the connection may be closed next
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)

    async def _on_news(self, message: Msg) -> None:
        self.news.set()

    async def _on_error(self, error: Exception) -> None:
        self._last_error = _why(error) if isinstance(error, OSError) else (str(error) or type(error).__name__)[:300]
        said = self._last_error.lower()
        if _UNHEARD.search(said) and inbox(self._access.name).lower() in said:
            self._unheard = True
        for subject, refused in self._refusals.items():
            if (self._unheard or f'"{subject}"' in said) and not refused.done():
                refused.set_result("this machine has no right to it")


def _seen(task: asyncio.Future[Any]) -> None:
    """Its error is of no interest where the request was refused meanwhile."""
    if not task.cancelled():
        task.exception()


def _not_admitted(name: str) -> str:
    if name == OPERATOR:
        return (
            "the credentials are not those of an operator: --credentials needs the file that "
            "`modelward fleet admit operator --role operator` wrote"
        )
    return (
        f"the credentials are not those of {name}: fleet.name needs the name that was admitted, or the server needs "
        f"`modelward fleet admit {name}`"
    )


async def _end(client: Client) -> None:
    """Ends a connection, whatever state it is in."""
    with suppress(OSError, nats.errors.Error, TimeoutError):
        async with asyncio.timeout(2.0):
            await client.close()


def _options(access: NatsAccess, server: str) -> dict[str, Any]:
    """What a connection is made with; on a thread. Raises OSError and ValueError."""
    options: dict[str, Any] = {}
    if server.startswith("tls:") or access.ca_file:
        context = ssl.create_default_context()
        if access.ca_file:
            context.load_verify_locations(access.ca_file)
        options["tls"] = context
    if not access.credentials:
        return options
    with open_regular(Path(access.credentials)) as file:
        text = file.read(MAX_CREDENTIALS_BYTES).decode("ascii").strip()
    if "BEGIN NATS USER JWT" in text:
        return options | {"user_credentials": access.credentials}
    if text.startswith("SU"):
        return options | {"nkeys_seed_str": text.split()[0]}
    user, colon, password = text.partition(":")
    if not colon or "\n" in text:
        raise ValueError(f"{access.credentials} holds no credentials, no seed, and no user:password")
    return options | {"user": user, "password": password}


def _stored(message: Msg, stream: str) -> StoredMessage | None:
    """What the server has; None for nothing, or for what was deleted. Raises EngineAway."""
    headers = message.headers or {}
    status = headers.get("Status", "")
    if status.startswith(_MISSING) or headers.get("KV-Operation", "") in ("DEL", "PURGE"):
        return None
    if status.startswith("503"):
        raise NotOffered("the server has nothing of this fleet: `modelward fleet publish` puts it there")
    if status or headers.get("Nats-Stream") != stream:
        said = shown(f"{status or 'something else'} {headers.get('Description', '')}")
        raise EngineAway(f"the server answered {said}")
    try:
        sequence = int(headers["Nats-Sequence"])
        at = _wall(headers["Nats-Time-Stamp"])
    except (KeyError, ValueError) as e:
        raise EngineAway(f"the server's answer cannot be read: {shown(e)}") from e
    return StoredMessage(headers.get("Nats-Subject", ""), sequence, at, message.data)


def _wall(text: str) -> float:
    """RFC 3339 with nanoseconds, which Python reads to six digits. Raises ValueError."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no time")
    return datetime.fromisoformat(f"{found[1]}+00:00").timestamp() + float(f"0.{found[2] or 0}")


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS} s"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text repeats the address
    return getattr(error, "strerror", None) or str(error)[:300] or type(error).__name__
