"""Says something to a server and hears what comes."""

from __future__ import annotations

import socket


def answered(address: str | tuple[str, int], data: bytes, seconds: float) -> bytes:
    """All that came until the end, or until nothing did for `seconds`: to half a request nobody answers."""
    answer = b""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as connection:
        connection.settimeout(seconds)
        connection.connect(address)
        try:
            connection.sendall(data)
            while more := connection.recv(65536):
                answer += more
        except (ConnectionError, TimeoutError):
            pass
    return answer
