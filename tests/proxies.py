"""Real nginx, Caddy and HAProxy with the configurations of docs/proxies.md, on ports of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.documents import blocks
from tests.house import free_port
from tests.support import PATIENCE_SECONDS, eventually

NAME = "asr.example.org"
PASSWORD = ("operator", "password")
"""What nginx asks for before the panel."""
PATHS = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
PROGRAMS = {name: shutil.which(name, path=PATHS) for name in ("nginx", "caddy", "haproxy")}
NGINX = """
{user} worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
{block}
}}
"""


@contextmanager
def front(name: str, root: Path, changes: dict[str, str], block: int = 0) -> Iterator[int]:
    """The port of this program with one of its blocks of the document, in which `changes` are made."""
    root.mkdir(parents=True)
    port = free_port()
    text = [found.text for found in blocks("docs/proxies.md") if found.language == name][block]
    for old, new in {**_listening(name, port, block), **changes}.items():
        assert old in text, f"{name}: the document has no {old!r}"
        text = text.replace(old, new)
    path = root / "proxy.conf"
    path.write_text(NGINX.format(root=root, block=text, user=_user()) if name == "nginx" else text, encoding="utf-8")
    command = {
        "nginx": ["-c", path],
        "caddy": ["run", "--adapter", "caddyfile", "--config", path],
        "haproxy": ["-db", "-f", path],
    }[name]
    with (
        (root / "output").open("wb") as output,
        subprocess.Popen(
            [str(PROGRAMS[name]), *command],
            env={**os.environ, "HOME": str(root), "XDG_DATA_HOME": str(root), "XDG_CONFIG_HOME": str(root)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as program,
    ):
        try:
            eventually(lambda: _listens(port) or program.poll() is not None)
            assert program.poll() is None, (root / "output").read_text()
            yield port
        finally:
            program.terminate()
            try:
                program.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                program.kill()


def _listening(name: str, port: int, block: int) -> dict[str, str]:
    """What has the document's configuration listen on our port."""
    return {
        "nginx": {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl"},
        "caddy": {f"{NAME} {{": f"{{\n admin off\n auto_https off\n}}\n{NAME}:{port} {{\n    bind 127.0.0.1"},
        "haproxy": {"bind :7800" if block else "bind :443": f"bind 127.0.0.1:{port}"},
    }[name]


def _user() -> str:
    """nginx started by root reads as another user, and the tests' files are root's alone."""
    return "user root;" if os.geteuid() == 0 else ""


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
