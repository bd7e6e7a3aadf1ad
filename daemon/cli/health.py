"""`modelward health`: whether requests are answered, as an exit status, for the health check of a container.

It runs every few seconds beside the workers, so it loads a socket and nothing else. Every wait has a limit.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from contextlib import closing
from typing import Final

from ..errors import Refused, Unreachable
from .argument_types import something
from .language import discard, say
from .socket_path import DEFAULT_SOCKET, socket_path

ANSWER_SECONDS: Final = 5.0
_HEAD_BYTES: Final = 4096


def arguments(parser: argparse.ArgumentParser) -> None:
    """--alive, --socket."""
    parser.add_argument("--alive", action="store_true", help="whether the daemon is alive, with or without a model")
    parser.add_argument(
        "--socket",
        metavar="PATH",
        type=something,
        help=f"the daemon's socket (default $MODELWARD_SOCKET or {DEFAULT_SOCKET})",
    )


def run(args: argparse.Namespace) -> int:
    """0 it is so, 1 it is not, 3 no daemon answers."""
    path = args.socket or socket_path(os.environ)
    status = _status(path, "/health" if args.alive else "/ready")
    if status == 200:
        try:
            say("alive" if args.alive else "ready", flush=True)
        except OSError:  # the status is the answer, whatever becomes of the word
            discard(sys.stdout)
        return 0
    if status == 503:
        raise Refused("cannot take requests: no worker is ready; `modelward status` has the reason")
    raise Refused(f"cannot read the daemon's answer: status {status}")


def _status(path: str, target: str) -> int:
    """The status of the answer. Raises Unreachable."""
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
            sock.settimeout(ANSWER_SECONDS)
            sock.connect(path)
            sock.sendall(f"GET {target} HTTP/1.0\r\nHost: modelward\r\n\r\n".encode())
            head = b""
            while b"\n" not in head and len(head) < _HEAD_BYTES and (more := sock.recv(_HEAD_BYTES)):
                head += more
    except TimeoutError as e:
        raise Unreachable(f"cannot reach the daemon: no answer from {path} within {ANSWER_SECONDS:g} s") from e
    except OSError as e:
        raise Unreachable(f"cannot reach the daemon: {path}: {e.strerror or e}") from e
    words = head.split(b"\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Unreachable(f"cannot reach the daemon: {path} answers in another language than HTTP")
    return int(words[1][:3])
