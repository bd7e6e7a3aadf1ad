"""What was aimed at, what was measured, and, where the two differ, why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.bench import sums
from tests.bench.precision import SECTION, Precision

FACTOR, SHARE, STALL, LOADS, MEGABYTES, MILLISECONDS, WAKEUPS = 2.8, 0.9, 1.5, 1.1, 40, 15, 1
NO_AIM = "said, no aim"
HANDING_OVER = 0.01  # of the waiting: from one run's end to the beginning of the next


@dataclass(frozen=True)
class Aim:
    """One line: what, the aim in words, what was measured, whether it is met; None where there is no aim."""

    name: str
    what: str
    aim: str
    measured: str
    met: bool | None


def aims(results: dict[str, Any]) -> list[Aim]:
    """Those that were measured, in the order of the page."""
    found: list[Aim] = []
    for precision, section in SECTION.items():
        if section in results:
            found += _serving(precision, results[section]["cells"])
    for what, shared in results.get("sharing", {}).get("loads", {}).items():
        part = sum(shared["free_while_waiting_seconds"]) / (shared["waited_seconds"] or 1.0)
        name = f"Waiting while a worker is free, {what}"
        aim = f"none; below {HANDING_OVER:.0%} for handing over"
        found.append(Aim("sharing", name, aim, f"{part:.1%}", part < HANDING_OVER))
    ours = results.get("replacing", {}).get("systems", {}).get(sums.OURS)
    if ours:
        found += _replacing(ours)
    idle = results.get("idle", {}).get("systems", {}).get(sums.OURS)
    if idle:
        found += _idle(idle)
    for name in ("reopen", "collapse"):
        rotated = results.get("rotation", {}).get("systems", {}).get(f"modelward-{name}")
        if rotated:
            lost = sum(r["lost"] + r["doubled_or_torn"] for r in rotated["rounds"])
            found.append(
                Aim("rotation", f"Lines lost, doubled or torn in rotation, `{name}`", "0", f"{lost}", not lost)
            )
    ratio = results.get("sweep", {}).get("median_ratio_to_find")
    if ratio is not None:
        found.append(Aim("sweep", "Sweep, CPU time against `find -delete`", NO_AIM, f"{ratio:.2f}", None))
    return found


def causes(results: dict[str, Any], missed: set[str]) -> list[str]:
    """Why the aims of these names are missed, as far as it is known; one sentence or two each."""
    found = []
    cells = [cell for cell in results.get("serving", {}).get("cells", []) if cell["clip_seconds"] <= 60]
    gains = [g.median for cell in cells if (g := sums.of_limit(cell, "bare-original", "bare"))]
    whole = [w.median for cell in cells if (w := sums.of_limit(cell, "pipeline"))]
    if "factor" in missed and gains:
        found.append(
            "The factor over the others is that of the compiled form, and that depends on the processor: ONNX Runtime"
            f" alone is {min(gains):.2f} to {max(gains):.2f} times as fast on it as on the file as it came here; on a"
            " Xeon with AMX it was about 3 times. With one client, Flask and we give a clip all cores."
        )
    if "share" in missed and whole:
        found.append(
            "The loop is given features that are ready. Against the same loop with features and text the share is"
            f" {min(whole):.2f} to {max(whole):.2f}; the rest is HTTP, the clients on the same cores, and connections"
            " that don't spread evenly over the workers."
        )
    if missed & {"load-first", "load-last"}:
        found.append(
            "A load is not all that a client waits for: the version runs once before it may answer, then the next"
            " request has to come and its answer to be made. The last worker loads when the first has proved the"
            " version: two loads for two workers, so that a version that kills its worker kills one."
        )
    if missed & {"rss", "cpu"}:
        found.append(
            "Python with asyncio holds 21 MB before a line of ours, the libraries for HTTP, logs and watching 12 more,"
            " ours 7. The time goes into reading the machine's figures every 10 s, looking at the model root every 5 s"
            " and the heartbeats of two workers: what alerts, and a file event that was lost, rely on."
        )
    if "stall" in missed:
        found.append(
            "While a worker loads, three threads want two cores for half a second, the loading one least. The longest"
            " of all answers beside six swaps stands against a percentile of a quiet time, in which some requests have"
            " the machine to themselves; of a single swap it is 1.1 to 1.7 of that."
        )
    return found


def _serving(precision: Precision, cells: list[dict[str, Any]]) -> list[Aim]:
    """The aims are about the usual file: what is gained on the floats that it is made from is said beside them."""
    factors = [f.median for cell in cells if (f := sums.against_best(cell))]
    shares = [s.median for cell in cells if cell["clip_seconds"] <= 60 and (s := sums.of_limit(cell))]
    found = []
    for name, what, values, aim in (
        ("factor", "Clips a second, times the best other server", factors, FACTOR),
        ("share", "Clips a second, share of ONNX Runtime alone on our artifact", shares, SHARE),
    ):
        if values and precision == "int8":
            found.append(Aim(name, f"{what}, {precision}", f"at least {aim}", _range(values), min(values) >= aim))
        elif values:
            found.append(Aim(f"{name}-{precision}", f"{what}, {precision}", NO_AIM, _range(values), None))
    return found


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _replacing(ours: dict[str, Any]) -> list[Aim]:
    failed, requests = sum(sums.swaps(ours, "failed")), sum(sums.swaps(ours, "requests"))
    stall = sums.stall(ours)
    found = [
        Aim(
            "failed", "Requests failed while the model is replaced", "0", f"{failed:.0f} of {requests:.0f}", not failed
        ),
        Aim(
            "stall", "Longest answer while replacing, over steady p99", f"below {STALL}", f"{stall:.2f}", stall < STALL
        ),
    ]
    for place, what in ((0, "first"), (-1, "last")):
        title = f"From the move of the link to the {what} worker"
        seen, bare = sums.swaps(ours, f"{what}_seconds"), ours.get("bare_load_seconds", [])
        found += _times(f"load-{what}", f"{title}, as clients see it, over a load alone", seen, bare)
        ready = [swap["ready_seconds"][place] for swap in ours["swaps"] if swap.get("ready_seconds")]
        beside = ours.get("bare_beside_seconds", [])
        title += ", as it says, over a load and a run alone beside the same requests"
        found += _times(f"ready-{what}", title, ready, beside)
    return found


def _times(name: str, title: str, took: list[float], bare: list[float]) -> list[Aim]:
    if not took or not bare:
        return []
    seconds = sums.spread(took).median
    times = seconds / sums.spread(bare).median
    return [Aim(name, title, f"at most {LOADS} times", f"{seconds:.2f} s, {times:.1f} times", times <= LOADS)]


def _idle(idle: dict[str, Any]) -> list[Aim]:
    rss, cpu = idle["rss"] * 2**20 / 1e6, idle["cpu_ms_per_minute"]
    wakeups = idle["switches_per_second"] + idle["children_per_minute"] / 60
    return [
        Aim("rss", "Idle daemon, resident", f"at most {MEGABYTES} MB", f"{rss:.1f} MB", rss <= MEGABYTES),
        Aim("cpu", "Idle daemon, CPU", f"at most {MILLISECONDS} ms a minute", f"{cpu:.1f} ms", cpu <= MILLISECONDS),
        Aim("wakeups", "Idle daemon, wake-ups", f"at most {WAKEUPS} a second", f"{wakeups:.2f}", wakeups <= WAKEUPS),
    ]
