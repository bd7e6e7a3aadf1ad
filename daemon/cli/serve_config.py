"""The configuration of one `modelward serve`: written for the ports that are free, unless the user changed it.

Invariants: a file that the user changed is never written. While workers of the home serve, their port stays: the next
daemon takes them back, and no request is refused. Blocks; for a thread.
"""

from __future__ import annotations

from pathlib import Path

from ...worker.shared.durable_files import replace_file
from ..config.load import Config, load, parse
from ..config.validators import split_address
from ..errors import Refused
from ..models.layouts import Found, RootFound
from ..workers.running_workers import running_workers
from .foreground import PANEL_PORT, SERVICE_PORT, free_port, is_taken
from .language import say
from .render import clean
from .serve_home import MAX_RUNTIME_BYTES, ServeHome, config_text

WORKER_SOCKET = "workers.sock"


def configured_home(home: ServeHome) -> ServeHome:
    """The home with the runtime directory that its configuration names, for there are the daemon's sockets. Raises
    BadConfig.
    """
    if not home.config.exists():
        return home
    return home._replace(runtime_dir=load(home.config).control.runtime_dir)


def require_short(home: ServeHome) -> None:
    """Raises Refused when the paths of the sockets would be longer than the kernel allows."""
    length = len(bytes(home.runtime_dir))
    if length > MAX_RUNTIME_BYTES:
        raise Refused(
            f"cannot use {home.runtime_dir}: it has {length} bytes, and with more than {MAX_RUNTIME_BYTES} the paths "
            "of its sockets are too long; --home DIR names a shorter place"
        )


def configured(home: ServeHome, found: Found, path: Path, *, again: bool = False) -> Config:
    """The configuration: written unless the user changed it. `again`: it was asked for before, and is asked for since a
    port may be taken by now. Raises Refused, and BadConfig for a changed one.
    """
    root = Path(found.directory) if isinstance(found, RootFound) else home.models
    before, ports, serving = "", (SERVICE_PORT, PANEL_PORT), False
    if home.config.exists():
        config = load(home.config)
        before = home.config.read_text(encoding="utf-8")
        serving = any(running_workers(str(home.runtime_dir / WORKER_SOCKET)))
        ports = _port_of(config.workers.listen, SERVICE_PORT), _port_of(config.panel.listen, PANEL_PORT)
        if before != config_text(home, config.models.root, *ports):
            _require_usable(home, config, root if isinstance(found, RootFound) else None, path, serving)
            return config
    usual = ports if again else (SERVICE_PORT, PANEL_PORT)
    port = ports[0] if serving else _free(usual[0], ports[0])
    text = config_text(home, root, port, _free(usual[1], ports[1]))
    config = parse(text, str(home.config))
    if text != before:
        try:
            replace_file(home.config, text.encode(), 0o600)
        except OSError as e:
            raise Refused(f"cannot write {home.config}: {e.strerror}") from e
    return config


def _free(usual: int, remembered: int) -> int:
    """The usual port, else the one of last time, else any."""
    port = free_port(usual, remembered, 0)
    if port != usual:
        say(f"port {usual} is taken; port {port} is used instead", flush=True)
    return port


def _require_usable(home: ServeHome, config: Config, root: Path | None, path: Path, serving: bool) -> None:
    """Raises Refused when a configuration that the user changed does not fit. It makes the model root."""
    if root is not None and root != config.models.root:
        raise Refused(
            f"cannot serve {clean(path)}: {home.config} was changed by hand and has models.root = "
            f"{config.models.root}; change it there, or name another --home"
        )
    try:
        config.models.root.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as e:
        made = f"cannot make {config.models.root}: {e.strerror}"
        raise Refused(f"{made}; {home.config} names it in models.root") from e
    for key, listen in (("workers.listen", config.workers.listen), ("panel.listen", config.panel.listen)):
        if listen and not (serving and key == "workers.listen"):
            _require_free(home, key, listen)


def _require_free(home: ServeHome, key: str, listen: str) -> None:
    if is_taken(*split_address(listen)):
        raise Refused(f"cannot listen on {listen}: it is taken; change {key} in {home.config}")


def _port_of(listen: str, default: int) -> int:
    return split_address(listen)[1] or default if listen else default
