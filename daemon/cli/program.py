"""The daemon as a program: reads its configuration, opens its logs, runs one supervisor, and ends the process.

An error that ends the loop leaves the workers serving and gives the process a status that has the service manager start
another daemon. Invariant: once the end has begun, the process is gone within `workers.drain_notice`, `workers.drain`
and ENDING_SECONDS, whatever hangs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from ...worker.shared import catalogue
from ...worker.shared.logs import LogFiles
from ...worker.shared.started import awaited
from ..config import own_directories
from ..config.credentials import with_credentials
from ..config.cross_checks import warnings
from ..config.load import DEFAULT_PATH, Config, load_or_default
from ..errors import ModelwardError
from ..state.store import Store
from ..supervisor import Supervisor
from ..system import malloc, single_instance
from ..system.background import end_process, end_within, record_thread_failures
from ..system.clock import Clock, SystemClock
from ..system.logs import followed, open_logs
from ..system.parent_death import end_with_parent
from ..system.peer_access import warning_of_root
from .language import say
from .served_addresses import address_lines, web_address

Started = Callable[[Supervisor], Coroutine[Any, Any, None]]
Build = Callable[[Config, Path | None, Clock, Mapping[str, str], Store], Supervisor]


def main(config_path: Path | None, build: Build = Supervisor) -> NoReturn:
    """Runs the daemon until a signal stops it, and ends the process. Raises BadConfig, and ModelwardError at start."""
    malloc.few_heaps()
    # Through its links each time it is read: they may be swapped, as those of a mounted ConfigMap are. A file that was
    # there must be there again; none was needed where there was none.
    named = config_path or (DEFAULT_PATH if os.path.lexists(DEFAULT_PATH) else None)
    origin = named.absolute() if named else None
    config, remark = load_or_default(origin, os.environ)
    config = with_credentials(config, os.environ)
    borne = own_directories.require_own(config)
    logs = open_logs(config.logs.dir, config.logs.level)
    if remark:
        logs.events.info(remark)
    for warning in (*warnings(config), *borne, warning_of_root(os.geteuid(), os.environ)):
        if warning:
            logs.events.warning(warning)
    if config.alerts.language == "zh":
        catalogue.load()
    control = config.control
    # The second lock holds when the runtime directory was removed, and the first with it.
    with single_instance.alone(control.runtime_dir), single_instance.alone(control.state_dir, required=False):
        clock = SystemClock()
        store = Store(control.state_dir / "state.db", clock)  # before there is an event loop that it would hold up
        # Not asyncio.run: it would wait for threads that a disk holds up.
        loop = asyncio.new_event_loop()
        try:
            started = partial(_announce, "" if remark else str(origin)) if sys.stdout.isatty() else None
            building = partial(build, config, origin, clock, os.environ, store)
            status = loop.run_until_complete(_serve(building, logs, started))
        finally:
            logs.close()
        end_process(status)


async def _announce(origin: str, supervisor: Supervisor) -> None:
    """Prints where the daemon answers and where its files are, for the terminal that it was started in."""
    panel = supervisor.config.panel.listen
    if panel:
        try:
            panel = (await supervisor.servers.panel.link()).url
        except ModelwardError as e:
            panel = f"{web_address(panel)} ({e})"
    text = "\n".join(address_lines(supervisor.config, panel, origin))
    with suppress(OSError):  # the terminal is gone
        await asyncio.to_thread(say, text, flush=True)


async def _serve(build: Callable[[], Supervisor], logs: LogFiles, started: Started | None) -> int:
    """The exit status. Raises ModelwardError when there was no start."""
    supervisor = build()
    record_thread_failures(supervisor.background)
    supervisor.reopen_own_logs = logs.reopen
    supervisor.upkeep.maintenance.follow_own_logs = partial(followed, logs)
    supervisor.commands.config_reload.set_own_level = logs.set_level
    supervisor.alerts.alert_manager.exposed.append(lambda out: out.add("modelward_log_lines_dropped_total", logs.lost))
    forwarding = supervisor.upkeep.maintenance.forwarding
    supervisor.alerts.alert_manager.exposed.append(
        lambda out: out.add("modelward_log_lines_not_forwarded_total", forwarding.dropped)
    )
    handle_signals(supervisor)
    refused, status = None, 0
    try:
        await _until_stopped(supervisor, started)
    except ModelwardError as e:
        refused = e
        supervisor.stop(leave_workers=not supervisor.stopping.is_set())  # a stop before it counts
    except BaseException as e:  # noqa: BLE001 - the top of the process: whatever it is, the workers serve on
        status = 1
        traceback.print_exception(e)
        supervisor.fail(e)
    over = end_within(supervisor.ending_seconds, status)
    await supervisor.close()
    if refused is not None:
        over.set()
        raise refused
    return status  # the last lines of the log are written within the same limit


async def _until_stopped(supervisor: Supervisor, started: Started | None) -> None:
    """Starts, then does rounds until a signal stops it, which ends a start that hangs too. Raises as `start` does."""
    starting, stopping = awaited(supervisor.start(), "start"), awaited(supervisor.stopping.wait(), "stop")
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
        malloc.after_start()
        if started is not None:
            supervisor.background.start("addresses", partial(started, supervisor))
        await supervisor.run()
    starting.cancel()


def handle_signals(supervisor: Supervisor) -> None:
    """SIGTERM, SIGINT stop; SIGQUIT leaves the workers; SIGHUP reloads; SIGUSR1 reopens logs; SIGUSR2 restarts."""
    loop, guarded = asyncio.get_running_loop(), supervisor.background.guarded
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGQUIT, partial(supervisor.stop, leave_workers=True))
    for number, act in (
        (signal.SIGHUP, supervisor.commands.config_reload.hang_up),
        (signal.SIGUSR1, supervisor.reopen_logs),
        (signal.SIGUSR2, partial(supervisor.restart_workers, "SIGUSR2")),
    ):
        loop.add_signal_handler(number, guarded(number.name, act))
    end_with_parent(os.environ)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what came since the start of the program counts now
