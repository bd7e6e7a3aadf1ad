"""The lines with the addresses of a daemon and the places of its files: for `run` in a terminal, and for `serve`.

Pure: it reads a configuration. The lines are in English; who prints them translates them.
"""

from __future__ import annotations

from ..config.load import Config


def address_lines(config: Config, panel: str, origin: str) -> list[str]:
    """One line each. `panel` is the link to it, or its address, "" where it is off; `origin` the configuration's file,
    "" for none.
    """
    logs = f"logs: {config.logs.dir}" if config.logs.dir else "logs: on standard output"
    return [
        f"service: {web_address(config.workers.listen)}",
        f"panel: {panel}" if panel else "panel: off",
        f"model root: {config.models.root}",
        logs,
        f"socket of the commands: {config.control.runtime_dir}/api.sock",
        f"configuration: {origin}" if origin else "configuration: none; every key has its default",
    ]


def web_address(listen: str) -> str:
    """The address of `host:port` as a browser on this machine takes it."""
    host, _, port = listen.rpartition(":")
    return f"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"
