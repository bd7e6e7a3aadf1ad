"""`modelward serve DIR`: serves a model from the terminal: no root, no configuration, no systemd.

All its files lie in one home and in the user's runtime directory; what DIR holds is copied there unless it is a model
root. It starts a daemon, reports what happens in order, and ends the daemon with the terminal. It decides nothing about
versions: the daemon validates them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from ...worker.shared.quantities import size
from ..answers.status import StatusAnswer
from ..config.load import Config, load
from ..errors import ModelwardError, Refused
from ..fetch.fetcher import FetchTarget
from ..models.layouts import ArchiveFound, Found, NothingFound, VersionFound, recognise
from ..models.tree_listing import listed
from ..system import single_instance
from ..system.clock import Clock, SystemClock
from .argument_types import something
from .client import Client
from .foreground import (
    INTERRUPTED,
    SERVICE_PORT,
    ForegroundDaemon,
    own_command,
    panel_or_why,
    stop_at_signals,
)
from .language import local_text, say
from .progress import ProgressLine
from .render import clean
from .serve_config import configured, configured_home, require_short
from .serve_follow import ServeFollower, VersionRefused
from .serve_home import ServeHome, home_here
from .serve_source import BroughtIn, bring_in
from .served_addresses import address_lines, web_address
from .transcribe import DEFAULT_URL

CLIPS: Final = ("golden", "test_wavs", "example", "examples", "")
_CLIP_ENDINGS: Final = (".wav", ".mp3", ".flac", ".ogg")
_MAX_LOOKED_AT: Final = 1_000
_NOTHING: Final = BroughtIn("", 0, copied=False)


def arguments(parser: argparse.ArgumentParser) -> None:
    """DIR, --home."""
    parser.add_argument(
        "path",
        metavar="DIR",
        type=something,
        help="a version, a model root, a cache directory of Hugging Face or ModelScope, a tar or zip, an .onnx file",
    )
    parser.add_argument(
        "--home",
        metavar="DIR",
        type=something,
        help="the directory for all its files (default ~/.local/share/modelward and $XDG_RUNTIME_DIR)",
    )


def run(args: argparse.Namespace) -> int:
    """0 when it was live until it was ended, 130 when it was ended before, 1 when it was refused or did not start."""
    home = configured_home(home_here(Path(os.path.abspath(args.home)) if args.home else None))
    try:
        return asyncio.run(_serve(home, Path(os.path.abspath(args.path)), SystemClock()))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _serve(home: ServeHome, path: Path, clock: Clock) -> int:
    """Runs until it is interrupted; whatever happens, the daemon it started has ended when this returns."""
    began, stop = clock.monotonic(), stop_at_signals()
    found = await asyncio.to_thread(_recognised, path)
    with _alone(home, path):
        config = await asyncio.to_thread(configured, home, found, path)
        brought = await _in_place(found, config, home, stop)
        if stop.is_set():
            return INTERRUPTED
        # The copy may have taken minutes, in which another program may have taken a port.
        config = await asyncio.to_thread(configured, home, found, path, again=True)
        daemon = ForegroundDaemon(home.config, home.socket, Path(config.logs.dir or home.home))
        daemon.start()
        try:
            follower = ServeFollower(daemon, brought.version, stop)
            try:
                live = await follower.until_live()
            except VersionRefused:
                raise
            except Refused:  # two that begin at once find the same ports free: once more, with others
                before, config = config, await asyncio.to_thread(configured, home, found, path, again=True)
                if daemon.running or before == config:
                    raise
                daemon.start()
                live = await follower.until_live()
            if not live:
                return INTERRUPTED
            source = Path(found.directory) if isinstance(found, VersionFound) else path
            await asyncio.to_thread(_report, daemon, home, config, live, source, clock.monotonic() - began)
            await daemon.stay(stop, follower.until_back, web_address(config.workers.listen))
            return 0
        except VersionRefused:
            if brought.copied:  # the one that is put right gets the same name
                await daemon.end()
                await asyncio.to_thread(shutil.rmtree, config.models.root / brought.version, ignore_errors=True)
            raise
        finally:
            await daemon.end()


def _recognised(path: Path) -> Found:
    """What was named. Raises Refused when it holds nothing to serve."""
    try:
        found = recognise(listed(path))
    except OSError as e:
        raise Refused(f"cannot serve {clean(path)}: {e.strerror or e}") from e
    if isinstance(found, NothingFound):
        raise Refused(f"cannot serve {clean(path)}: {found.because}")
    return found


@contextmanager
def _alone(home: ServeHome, path: Path) -> Iterator[None]:
    """Makes the directories of the home and holds it. Raises Refused, also when another daemon runs there."""
    require_short(home)
    for directory in home.directories:
        try:
            directory.mkdir(mode=0o700 if directory == home.home else 0o750, parents=True, exist_ok=True)
        except OSError as e:
            raise Refused(f"cannot make {directory}: {e.strerror}; --home DIR names another place") from e
    if running := _running(home):
        raise Refused(_occupied(home, path, running.pid))
    with ExitStack() as held:
        try:
            held.enter_context(single_instance.alone(home.home))
        except ModelwardError as e:
            raise (Refused(_occupied(home, path, 0)) if str(e).startswith("cannot start: another daemon") else e) from e
        yield


def _running(home: ServeHome) -> StatusAnswer | None:
    with suppress(ModelwardError):
        return Client(str(home.socket)).get("/v1/status").read(StatusAnswer)
    return None


def _occupied(home: ServeHome, path: Path, pid: int) -> str:
    address = web_address(f"127.0.0.1:{SERVICE_PORT}")
    root = home.models
    with suppress(ModelwardError):
        config = load(home.config)
        address, root = web_address(config.workers.listen), config.models.root
    ends = f"; `kill {pid}` ends it" if pid else ""
    return (
        f"cannot serve {clean(path)}: a daemon of {home.home} runs already and answers on {address}; a version that is "
        f"copied into {root} is served by it; --home DIR starts another one{ends}"
    )


async def _in_place(found: Found, config: Config, home: ServeHome, stop: asyncio.Event) -> BroughtIn:
    """Brings a version into the model root; no name for a model root that is served as it is. Raises Refused."""
    root = config.models.root
    if not isinstance(found, VersionFound | ArchiveFound):
        say(f"{root} is a model root; it is used where it lies", flush=True)
        return _NOTHING
    source = found.directory if isinstance(found, VersionFound) else found.path
    line = ProgressLine(sys.stderr)

    def reserve(total_bytes: int) -> int:  # asked before each piece
        if stop.is_set():
            raise Refused(f"cannot copy {source}: it was interrupted")
        return config.disk.min_free.of(total_bytes)

    def progress(done: int, total: int) -> None:
        reserve(0)
        if line.in_place:
            line.show(local_text(f"{done >> 20} of {total >> 20} MiB are copied"))

    try:
        place = FetchTarget(root, config.models.link, reserve)
        brought = await asyncio.to_thread(bring_in, found, place, home.home / "archives.json", progress)
    except Refused:
        if stop.is_set():
            return _NOTHING
        raise
    finally:
        line.end()
    if brought.copied:
        say(f"{brought.version} ({size(brought.bytes)}) is copied from {source} to {root}", flush=True)
    else:
        say(f"{brought.version} is in {root} already, with the same content", flush=True)
    return brought


def _report(daemon: ForegroundDaemon, home: ServeHome, config: Config, live: str, source: Path, seconds: float) -> None:
    """Where everything is, and what to try; in a thread."""
    say(f"live: {clean(live)}, {seconds:.1f} s after the start")
    listen = config.panel.listen
    panel = panel_or_why(daemon, web_address(listen)) if listen else ""
    say("\n".join(address_lines(config, panel, str(home.config))))
    url = web_address(config.workers.listen)
    words = ["transcribe", *([] if url == DEFAULT_URL else ["--url", url]), _clip(config.models.root / live, source)]
    say("Ctrl-C here ends everything. Try it in another terminal:")
    print(" ", own_command(), shlex.join(words), flush=True)


def _clip(*versions: Path) -> str:
    """A recording that came with the version, or a name that stands for one."""
    for place in [version / name for version in versions for name in CLIPS]:
        with suppress(OSError), os.scandir(place) as entries:
            names = sorted(e.name for _, e in zip(range(_MAX_LOOKED_AT), entries, strict=False) if _is_clip(e))
            if names:
                return str(place / names[0])
    return "RECORDING.wav"


def _is_clip(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(_CLIP_ENDINGS) and stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)
