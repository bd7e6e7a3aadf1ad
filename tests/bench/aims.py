"""What was aimed at and what was measured, for each kind of processor. Pure.

Aims of int8 depend on the kind: with VNNI the compiled form is much faster than the file that came, else a little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.bench import sums
from tests.bench.kinds import exact_in_int8
from tests.bench.precision import SECTION, Precision

FACTOR, PLAIN_FACTOR, LONE_FACTOR, P95, SHARE, STALL, LOADS = 1.7, 1.0, 1.5, 1.0, 0.9, 1.5, 1.1
MEGABYTES, MILLISECONDS, WAKEUPS, SWEEP = 36, 12, 0.5, 1.8
ARRIVAL_NEW, ARRIVAL_KNOWN, COMPILING, FLEET, ATTACKED, SMALL_MIB = 5, 8, 1.1, 1.3, 2, 900
MANY = 16
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
    section: str = ""


def at_most(name: str, what: str, most: float, value: float, *, unit: str = "", decimals: int = 2) -> Aim:
    """An aim of a figure that should be small."""
    return Aim(name, what, f"at most {most:g}{unit}", f"{value:.{decimals}f}{unit}", value <= most)


def aims(kind: str, sections: dict[str, Any]) -> list[Aim]:
    """Those that were measured on this kind, in the order of the page."""
    parts = {
        **{
            name: _serving(kind, precision, sections[name]["cells"])
            for precision, name in SECTION.items()
            if name in sections
        },
        "sharing": _sharing(sections.get("sharing", {}).get("loads", {})),
        "replacing": _replacing(_ours(sections, "replacing")),
        "compiling": _compiling(sections.get("compiling", {})),
        "idle": _idle(_ours(sections, "idle")),
        "rotation": _rotation(sections.get("rotation", {}).get("systems", {})),
        "sweep": _sweep(sections.get("sweep", {})),
        "fleet": _fleet(sections.get("fleet", {}).get("rounds", [])),
        "attacks": _attacks(sections.get("attacks", {}).get("attacks", {})),
        "small-machine": _small(sections.get("small-machine", {})),
    }
    return [replace(aim, section=name) for name, found in parts.items() for aim in found]


def _ours(sections: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = sections.get(name, {}).get("systems", {}).get(sums.OURS, {})
    return found


def _serving(kind: str, precision: Precision, cells: list[dict[str, Any]]) -> list[Aim]:
    """The aims are about the usual file: what is gained on the floats that it is made from is said beside them."""
    factors = {(c["clip_seconds"], c["clients"]): f.median for c in cells if (f := sums.against_best(c))}
    shares = [s.median for cell in cells if cell["clip_seconds"] <= 60 and (s := sums.of_limit(cell))]
    what = f"Clips a second, times the best other server, {precision}"
    part = f"Clips a second, share of ONNX Runtime alone on our artifact, {precision}"
    every = list(factors.values())
    if precision != "int8":
        said = ((f"factor-{precision}", what, every), (f"share-{precision}", part, shares))
        return [Aim(name, title, NO_AIM, _range(values), None) for name, title, values in said if values]
    lone = [value for (_, clients), value in factors.items() if clients == 1]
    waits = [value for cell in cells if cell["clients"] == MANY and (value := sums.p95_against_best(cell)) is not None]
    if exact_in_int8(kind):
        found = [_at_least("factor", f"{what}, with VNNI, in every cell", FACTOR, every)]
    else:
        found = [_at_least("factor-plain", f"{what}, without VNNI, in every cell", PLAIN_FACTOR, every)]
        found += [_at_least("factor-lone", f"{what}, without VNNI, a lone client", LONE_FACTOR, lone)]
    if waits:
        title = f"p95 of {MANY} clients, over the least p95 of another server, {precision}"
        found.append(Aim("p95", title, f"at most {P95:.1f}", _range(waits), max(waits) <= P95))
    return [aim for aim in (*found, _at_least("share", part, SHARE, shares)) if aim.measured]


def _at_least(name: str, what: str, least: float, values: list[float]) -> Aim:
    """Of the worst of these; without a measurement where there are none."""
    return Aim(name, what, f"at least {least}", _range(values), bool(values) and min(values) >= least)


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else ""


def _sharing(loads: dict[str, Any]) -> list[Aim]:
    found = []
    for what, shared in loads.items():
        part = sum(shared["free_while_waiting_seconds"]) / (shared["waited_seconds"] or 1.0)
        name = f"Waiting while a worker is free, {what}"
        aim = f"none; below {HANDING_OVER:.0%} for handing over"
        found.append(Aim("sharing", name, aim, f"{part:.1%}", part < HANDING_OVER))
    return found


def _replacing(ours: dict[str, Any]) -> list[Aim]:
    if not ours:
        return []
    failed, requests = sum(sums.swaps(ours, "failed")), sum(sums.swaps(ours, "requests"))
    title = "Requests failed while the model is replaced"
    found = [
        Aim("failed", title, "0", f"{failed:.0f} of {requests:.0f}", not failed),
        at_most("stall", "Longest answer while replacing, over steady p99", STALL, sums.stall(ours)),
    ]
    for place, what in ((0, "first"), (-1, "last")):
        title = f"From the move of the link to the {what} worker"
        seen, bare = sums.swaps(ours, f"{what}_seconds"), ours.get("bare_load_seconds", [])
        found += _times(f"load-{what}", f"{title}, as clients see it, over a load alone", LOADS, seen, bare)
        ready = [swap["ready_seconds"][place] for swap in ours["swaps"] if swap.get("ready_seconds")]
        beside = ours.get("bare_beside_seconds", [])
        title += ", as it says, over a load and a run alone beside the same requests"
        found += _times(f"ready-{what}", title, LOADS, ready, beside)
    return found


def _times(name: str, title: str, most: float, took: list[float], bare: list[float]) -> list[Aim]:
    if not took or not bare:
        return []
    seconds = sums.spread(took).median
    times = seconds / sums.spread(bare).median
    return [Aim(name, title, f"at most {most:g} times", f"{seconds:.2f} s, {times:.1f} times", times <= most)]


def _compiling(section: dict[str, Any]) -> list[Aim]:
    if not section:
        return []
    title = "From the rename of a version to its first answer, over a load and a run alone"
    found = []
    for name, what, most in (
        ("first", "nothing served", ARRIVAL_NEW),
        ("next", "beside another, a graph that is known", ARRIVAL_KNOWN),
    ):
        arrived = section["arrivals"][name]
        found += _times(f"arrival-{name}", f"{title}, {what}", most, [arrived["seconds"]], [arrived["bare_seconds"]])
    slower = section["during"]["p95_seconds"] / section["before"]["p95_seconds"]
    return [
        *found,
        at_most("compiling", "p95 at half load while a form is compiled, over that before", COMPILING, slower),
    ]


def _idle(idle: dict[str, Any]) -> list[Aim]:
    if not idle:
        return []
    rss, cpu = idle["rss"] * 2**20 / 1e6, idle["cpu_ms_per_minute"]
    wakeups = idle["switches_per_second"] + idle["children_per_minute"] / 60
    return [
        at_most("rss", "Idle daemon with the panel, resident", MEGABYTES, rss, unit=" MB", decimals=1),
        at_most("cpu", "Idle daemon with the panel, CPU", MILLISECONDS, cpu, unit=" ms a minute", decimals=1),
        at_most("wakeups", "Idle daemon with the panel, wake-ups", WAKEUPS, wakeups, unit=" a second"),
    ]


def _rotation(systems: dict[str, Any]) -> list[Aim]:
    found = []
    for name in ("reopen", "collapse"):
        if rotated := systems.get(f"modelward-{name}"):
            lost = sum(r["lost"] + r["doubled_or_torn"] for r in rotated["rounds"])
            title = f"Lines lost, doubled or torn in rotation, `{name}`"
            found.append(Aim("rotation", title, "0", f"{lost}", not lost))
    return found


def _sweep(section: dict[str, Any]) -> list[Aim]:
    title = "Sweep, CPU time against `find -delete`"
    return [at_most("sweep", title, SWEEP, section["median_ratio_to_find"])] if section else []


def _fleet(rounds: list[dict[str, float]]) -> list[Aim]:
    title = "A version to the machines of a fleet, over a bare read of the same object"
    ratios = [one["ours_seconds"] / one["bare_seconds"] for one in rounds]
    return [at_most("fleet", title, FLEET, sums.spread(ratios).median)] if ratios else []


def _attacks(attacks: dict[str, Any]) -> list[Aim]:
    title = "Good clips while the service is attacked, median over the usual one, the worst"
    slowed = [sums.slowed(good) for attack in attacks.values() for good in attack["good"].values()]
    return [at_most("attacks", title, ATTACKED, max(slowed))] if slowed else []


def _small(section: dict[str, Any]) -> list[Aim]:
    if "peak_mib" not in section:
        return []
    peak = section["peak_mib"]
    well = section["live"] and not section["failures"] and not section["oom_kills"] and not section["bad"]
    title = (
        f"Memory on {section['quota']:g} of a processor and {section['memory_mib']} MiB, all answered, nothing killed"
    )
    return [Aim("small", title, f"at most {SMALL_MIB} MiB", f"{peak:.0f} MiB", bool(well) and peak <= SMALL_MIB)]
