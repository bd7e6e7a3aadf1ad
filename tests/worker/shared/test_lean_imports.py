"""Daemon and workers load nothing that they do not use, and what is loaded late works then as it always did."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
from tests.fakes.certificates import server_context
from tests.support import PATIENCE_SECONDS

from modelward.worker import protocol as p
from modelward.worker.shared.lean_imports import quick_sha256

IMPORTS = Path(__file__).parents[3] / ".imports"


def loaded_by(*arguments: str, status: int, pass_fds: tuple[int, ...] = ()) -> set[str]:
    """The modules that a program imported until it ended."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(IMPORTS)},
        pass_fds=pass_fds,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == status, done.stderr[-2000:]
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


UNUSED = {
    "_ssl",
    "click.core",
    "email.message",
    "greenlet._greenlet",
    "multiprocessing.context",
    "rich.console",
    "tarfile",
}
USE_TLS = """
import sys
from pathlib import Path
from modelward.worker.shared.lean_imports import import_less
import_less(openssl_hashes=False)
import asyncio, hashlib, http.client, ssl

async def main(directory):
    plain = await asyncio.start_unix_server(lambda reader, writer: writer.close(), directory / "plain.sock")
    reader, writer = await asyncio.open_unix_connection(directory / "plain.sock")
    assert await reader.read() == b""
    writer.close()
    plain.close()
    assert not {"_ssl", "_hashlib", "email.message"} & sys.modules.keys()
    ours = ssl.create_default_context(cafile=directory / "authority.pem")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(directory / "server.pem")
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=theirs)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ours)
    assert writer.get_extra_info("cipher") and await reader.read() == b""
    writer.close()
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=ours)
    await asyncio.to_thread(connection.connect)
    assert connection.sock.version()
    connection.close()
    server.close()

asyncio.run(main(Path(sys.argv[1])))
assert sys.modules["ssl"].SSLContext is ssl.SSLContext and ssl.CERT_NONE is ssl.VerifyMode.CERT_NONE
assert hashlib.sha256(b"modelward").hexdigest() == sys.argv[2]
"""


def test_neither_the_daemon_nor_a_worker_loads_what_it_does_not_use(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[models]\nroot = 1\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = p.WorkerSettings(
            name="w1",
            worker_socket=str(tmp_path / "workers.sock"),
            api_socket=str(tmp_path / "api.sock"),
            listen_fd=listener.fileno(),
            log_dir=str(tmp_path),
            drain_seconds=1.0,
            cache_dir=str(tmp_path),
            kind="no such kind",
        )
        settings = msgspec.json.encode(told).decode()
        worker = loaded_by("modelward.worker", "--settings", settings, status=3, pass_fds=(listener.fileno(),))
    daemon = loaded_by("modelward.daemon", "run", "--config", str(tmp_path / "wrong.toml"), status=2)
    for modules in (daemon, worker):
        assert {"structlog.dev", "uvicorn._types"} <= modules
        assert not modules & UNUSED


def test_what_is_loaded_late_works_as_ever_once_it_is_used(tmp_path: Path) -> None:
    server_context(tmp_path)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", USE_TLS, tmp_path, hashlib.sha256(b"modelward").hexdigest()],
        env={**os.environ, "PYTHONPATH": str(IMPORTS)},
        timeout=PATIENCE_SECONDS,
        check=True,
    )


def test_a_digest_of_something_large_is_the_same_with_and_without_openssl() -> None:
    hashed = quick_sha256()
    hashed.update(b"modelward")
    assert hashed.digest() == hashlib.sha256(b"modelward").digest()
