"""Whether a request waits in one worker while another idles: every run of the model by every worker, under load.

Workers write each run to their debug log; what is made of that trace here is kept with the figures, so that the picture
on the page shows the runs themselves.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

from tests.balance import Run, idle_while_waiting, runs_in
from tests.bench import load
from tests.bench.clips import Clip, pool
from tests.bench.ours import Modelward
from tests.bench.plan import Plan
from tests.support import eventually

CLIENTS = 4
LOADS = {"clips of 5 s": ((5.0,), 48), "clips of 5 s, each third one of 30 s": ((30.0, 5.0, 5.0), 24)}
QUICK_LOADS = {"clips of 1 s": ((1.0,), 8)}


def measure(plan: Plan) -> dict[str, Any]:
    """{"clients", "slots", "loads": {what: {runs by worker, work, waited, free_while_waiting, trace}}}."""
    ours = plan.modelward()
    ours.house.settings["logs"] = {"level": "debug"}
    ours.house.configure()
    found = {}
    try:
        ours.start(pool(1.0)[0])
        for what, (lengths, requests) in (QUICK_LOADS if plan.quick else LOADS).items():
            clips = [clip for number in range(4) for seconds in lengths for clip in pool(seconds)[number : number + 1]]
            load.closed(ours.ask, clips, CLIENTS, CLIENTS)  # not counted: pages and caches are in place after it
            found[what] = _figures(_trace(ours, clips, requests), ours.workers)
            print(
                f"sharing {what}: { ({**found[what], 'trace': len(found[what]['trace'])}) }",
                file=sys.stderr,
                flush=True,
            )
    finally:
        ours.stop()
    return {"clients": CLIENTS, "slots": ours.workers, "loads": found}


def _trace(ours: Modelward, clips: list[Clip], requests: int) -> list[Run]:
    """The runs of so many requests, by their beginning."""
    since = time.monotonic()
    made = load.closed(ours.ask, clips, CLIENTS, requests)
    if made.failures:
        raise RuntimeError(f"cannot measure: {made.failures[0]}")

    def all_of_them() -> list[Run] | None:
        runs = [run for run in runs_in(ours.house.log_dir) if run.asked > since]
        return runs if len({run.request for run in runs}) >= requests else None

    return eventually(all_of_them) or []


def _figures(runs: list[Run], slots: int) -> dict[str, Any]:
    began = min(run.asked for run in runs)
    return {
        "runs": dict(sorted(Counter(run.worker for run in runs).items())),
        "work_seconds": round(sum(run.ended - run.began for run in runs), 4),
        "waited_seconds": round(sum(run.began - run.asked for run in runs), 4),
        "free_while_waiting_seconds": [round(spell, 5) for spell in idle_while_waiting(runs, slots)],
        "trace": [[run.worker, *(round(at - began, 4) for at in (run.asked, run.began, run.ended))] for run in runs],
    }
