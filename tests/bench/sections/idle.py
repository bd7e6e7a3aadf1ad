"""What supervising costs when nothing happens: memory, CPU time and wake-ups of each supervisor, all at the same time.

Each keeps two children that sleep (modelward: two workers with a model). Only the supervisor itself is counted:
voluntary context switches of all its threads, and children that it started meanwhile.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from tests.bench import trees
from tests.bench.clips import pool
from tests.bench.peers.peer import Peer, Place
from tests.bench.plan import Plan
from tests.bench.servers import Server, placed

SECONDS, REST_SECONDS, QUICK_SECONDS = 90.0, 75.0, 2.0  # the rest goes past the daemon's first sweep
REQUIREMENTS = ("supervisor", "circus", "gunicorn")
SLEEPER = "import threading; threading.Event().wait()"
APP = "def app(environ, answer):\n    answer('200 OK', [])\n    return [b'']\n"


def supervisord(place: Place) -> list[str]:
    program = f"[program:asr]\ncommand={place.python} -c '{SLEEPER}'\nprocess_name=%(process_num)d\nnumprocs=2\n"
    head = f"[supervisord]\nnodaemon=true\nuser=root\npidfile={place.scratch}/pid\nlogfile={place.scratch}/log\n"
    (place.scratch / "conf").write_text(head + program)
    return [str(place.bin / "supervisord"), "-c", str(place.scratch / "conf")]


def circus(place: Place) -> list[str]:
    ends = "".join(f"{name} = ipc://{place.scratch}/{name}\n" for name in ("endpoint", "pubsub_endpoint"))
    watcher = f"[watcher:asr]\ncmd = {place.python} -c '{SLEEPER}'\nnumprocesses = 2\n"
    (place.scratch / "conf").write_text(f"[circus]\n{ends}{watcher}")
    return [str(place.bin / "circusd"), str(place.scratch / "conf")]


def gunicorn(place: Place) -> list[str]:
    (place.scratch / "app.py").write_text(APP)
    return [str(place.bin / "gunicorn"), "-w", "2", "-b", f"127.0.0.1:{place.port}", "app:app"]


SUPERVISORS: dict[str, Callable[[Place], list[str]]] = {
    "supervisord": supervisord,
    "circus": circus,
    "gunicorn": gunicorn,
}


def measure(plan: Plan) -> dict[str, Any]:
    """{"systems": {name: {title, rss, pss, threads, cpu_ms_per_minute, switches_per_second, children_per_minute}}}."""
    with ExitStack() as stack:
        ours = plan.modelward()
        stack.callback(ours.stop)
        ours.start(pool(1.0)[0])
        watched = {"modelward": ours.pids()[0]}
        facts: dict[str, Any] = {
            "modelward": {"title": "modelward", "setup": "two workers, every key at its default, panel on"}
        }
        peer = Peer("supervisors", "supervisors", REQUIREMENTS, gunicorn, None)  # type: ignore[arg-type]
        environment = plan.environment(peer)
        for name, command in SUPERVISORS.items():
            facts[name] = {"title": name, "setup": "two children", "versions": environment.versions(REQUIREMENTS)}
            if environment.python is None:
                facts[name]["missing"] = environment.because
                continue
            place = placed(environment.python, Path("/"), plan.scratch / name, 2)
            place.scratch.mkdir(parents=True)
            server = Server(Peer(name, name, REQUIREMENTS, command, None), place)  # type: ignore[arg-type]
            stack.callback(server.stop)
            server.launch()
            assert server.process is not None
            watched[name] = server.process.pid
        seconds = QUICK_SECONDS if plan.quick else SECONDS
        threading.Event().wait(1.0 if plan.quick else REST_SECONDS)
        for name, figures in _watch(watched, seconds).items():
            facts[name] |= figures
    return {"systems": facts, "seconds": seconds}


def _watch(watched: dict[str, int], seconds: float) -> dict[str, dict[str, float]]:
    """Figures of each process over so many seconds. Started children are those seen, looking five times a second."""
    before = {name: (trees.run_seconds(pid), trees.switches(pid)) for name, pid in watched.items()}
    known = {name: _children(pid) for name, pid in watched.items()}
    started = dict.fromkeys(watched, 0)
    waited = {name: trees.waited_seconds(pid) for name, pid in watched.items()}
    rest = threading.Event()
    for _ in range(int(seconds * 5)):
        rest.wait(0.2)
        for name, pid in watched.items():
            now = _children(pid)
            started[name] += len(now - known[name])
            known[name] |= now
    figures = {}
    for name, pid in watched.items():
        run, slept = before[name]
        own = trees.run_seconds(pid) - run
        children = trees.waited_seconds(pid) - waited[name]
        figures[name] = {
            **{key: round(value, 1) for key, value in trees.memory([pid]).items()},
            "threads": psutil.Process(pid).num_threads(),
            "cpu_ms_per_minute": (own + children) * 1000 * 60 / seconds,
            "own_cpu_ms_per_minute": own * 1000 * 60 / seconds,
            "switches_per_second": (trees.switches(pid) - slept) / seconds,
            "children_per_minute": started[name] * 60 / seconds,
        }
        print(f"idle {name}: {figures[name]}", file=sys.stderr, flush=True)
    return figures


def _children(pid: int) -> set[int]:
    out: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            out |= set(map(int, (task / "children").read_text().split()))
        except OSError:
            continue
    return out
