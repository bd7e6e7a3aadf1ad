"""The tables of the page, one function for each section. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tests.bench import sums
from tests.bench.kinds import PICTURE
from tests.bench.precision import SECTION, Precision

LONG_SECONDS = 60.0
_WEIGHTS: dict[Precision, str] = {
    "int8": "The usual unsigned int8 file, which our workers run as it was compiled for this processor.\n",
    "fp32": "The file that the usual one is made from: 32-bit floats, 937 MB. The same clips and clients, fewer turns. "
    "Most of what compiling gains it gains on 8-bit weights, and here are none.\n",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; the first column is left, the others right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def length(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds > LONG_SECONDS else f"{seconds:g} s"


def picture(words: str, section: str, kind: str) -> str:
    """The line that shows a section's picture."""
    return f"![{words}](images/{PICTURE.format(section, kind)})\n"


def serving(precision: Precision, kind: str, section: dict[str, Any]) -> str:
    facts, cells = section["systems"], section["cells"]
    words = f"Clips a second of each server, {precision}"
    parts = [_WEIGHTS[precision], *([picture(words, SECTION[precision], kind)] if sums.drawn(section) else [])]
    parts.append(setups(facts))
    if any(cell["clip_seconds"] > LONG_SECONDS for cell in cells):
        parts.append(
            "Clips of ten minutes have one turn, in which each client asks for one and waits up to 15 minutes for it; "
            "modelward's own limit, 300 s, is at its default.\n"
        )
    for seconds in sorted({cell["clip_seconds"] for cell in cells}):
        mine = [cell for cell in cells if cell["clip_seconds"] == seconds]
        parts.append(f"#### Clips of {length(seconds)}\n\n" + _clip(facts, mine))
    return "\n".join(parts) + "\n" + _factors(facts, cells)


def _clip(facts: dict[str, Any], cells: list[dict[str, Any]]) -> str:
    head = ["server"]
    for cell in cells:
        clients = f"{cell['clients']} client{'s' if cell['clients'] > 1 else ''}"
        head += [f"{clients}: clips/s", "p50 / p95 s"]
    rows = []
    for name in facts:
        row = [facts[name]["title"]]
        turns = []
        for cell in cells:
            if name not in cell["systems"]:
                row += ["–", "–"]
                continue
            turns += cell["systems"][name]
            p50, p95 = sums.latencies(cell, name)
            row += [sums.spread(sums.rate(cell, name)).text(2), f"{p50:.3f} / {p95:.3f}"]
        if turns:
            failed = sum(turn["failed"] for turn in turns)
            errors = sum(turn["error_rate"] for turn in turns) / len(turns)
            cpu = sums.spread([turn["cpu_seconds"] for turn in turns])
            rows.append([*row, cpu.text(3), f"{failed}", f"{errors:.3f}"])
    return table([*head, "CPU s a clip", "failed", "error rate"], rows)


def _factors(facts: dict[str, Any], cells: list[dict[str, Any]]) -> str:
    rows = []
    for cell in cells:
        best, factor, share = sums.best_other(cell), sums.against_best(cell), sums.of_limit(cell)
        if factor is not None and share is not None:
            pipeline = sums.of_limit(cell, "pipeline")
            rows.append(
                [length(cell["clip_seconds"]), str(cell["clients"]), facts[best]["title"], factor.text(), share.text()]
                + [pipeline.text() if pipeline else "–"]
            )
    head = (
        "clips",
        "clients",
        "best other",
        "modelward times it",
        "of ONNX Runtime alone",
        "of it with features and text",
    )
    return "#### Clips a second, modelward against the best other and against ONNX Runtime alone\n\n" + table(
        head, rows
    )


def setups(facts: dict[str, Any]) -> str:
    lines = []
    for fact in facts.values():
        versions = ", ".join(f"{name} {version}" for name, version in fact.get("versions", {}).items())
        missing = f" Not measured: {fact['missing']}" if "missing" in fact else ""
        detail = "; ".join(filter(None, (fact.get("setup", ""), versions)))
        lines.append(f"- {fact['title']}: {detail}.{missing}")
    return "\n".join(lines) + "\n"


def sharing(kind: str, section: dict[str, Any]) -> str:
    rows = []
    for what, found in section["loads"].items():
        waited, spells = found["waited_seconds"], found["free_while_waiting_seconds"]
        span = max(run[3] for run in found["trace"])
        rows.append(
            [
                what,
                " + ".join(str(count) for count in found["runs"].values()),
                f"{found['work_seconds'] / span / section['slots']:.1%}",
                f"{waited:.1f}",
                f"{sum(spells):.3f} ({sum(spells) / waited:.1%})" if waited else "0",
                f"{max(spells, default=0.0) * 1000:.1f}",
            ]
        )
    head = ("load", "runs of each worker", "slots in use", "requests waited, s", "of it beside a free slot, s")
    text = (
        f"{section['clients']} clients, each request on a connection of its own, and every run of the model by either "
        "worker, from their debug log. A slot is free while fewer runs are in progress than there are workers.\n\n"
    )
    text += picture("Every run of two workers under four clients", "sharing", kind) + "\n"
    return text + table((*head, "longest, ms"), rows)


def replacing(kind: str, section: dict[str, Any]) -> str:
    facts = section["systems"]
    rows = []
    for system in facts.values():
        if "swaps" not in system:
            continue
        failed, requests = sum(sums.swaps(system, "failed")), sum(sums.swaps(system, "requests"))
        firsts, lasts, longest = (sums.swaps(system, f"{k}_seconds") for k in ("first", "last", "longest"))
        memory = [sums.spread(sums.swaps(system, f"memory_{k}")).median for k in ("before", "peak", "after")]
        rows.append(
            [
                system["title"],
                sums.spread(firsts).text() if firsts else "never",
                sums.spread(lasts).text() if lasts else "never",
                f"{failed:.0f} of {requests:.0f}",
                sums.spread(longest).text(3),
                f"{system['steady']['p50_seconds']:.3f} / {system['steady']['p99_seconds']:.3f}",
                f"{sums.stall(system):.1f}",
                " → ".join(f"{value:.0f}" for value in memory),
                f"{1 / system['pace_seconds']:.1f}",
            ]
        )
    head = ("server", "first new answer, s", "last, s", "failed", "longest answer, s", "steady p50 / p99 s")
    head += ("longest / p99", "MiB before → peak → after", "requests/s")
    bare = facts.get(sums.OURS, {}).get("bare_load_seconds", [])
    beside = facts.get(sums.OURS, {}).get("bare_beside_seconds", [])
    alone = f"\nONNX Runtime alone loads our artifact in {sums.spread(bare).text()} s" if bare else ""
    alone += (
        f", and loads and runs it once beside the same requests in {sums.spread(beside).text()} s" if beside else ""
    )
    alone += ".\n" if alone else ""
    text = (
        f"Clips of {length(section['clip_seconds'])} come at a fixed pace, {section['load']:.0%} of what each "
        "server can do, while the link is moved to another version and the server is told in its own way "
        "(modelward needs no telling). Seconds count from the move; *last* is when the last answer by the old "
        "version was behind. Latency counts from when a request was due. Both versions were judged before; no "
        "bake.\n"
    )
    text += "\n" + picture("Longest answer while the model is replaced", "replacing", kind) + "\n"
    return text + setups(facts) + "\n" + table(head, rows) + alone


def memory(section: dict[str, Any]) -> str:
    facts = section["systems"]
    counts = sorted({int(count) for system in facts.values() for count in system.get("workers", {})})
    rows = []
    for system in facts.values():
        held = system.get("workers", {})
        cells = [held.get(str(count)) for count in counts]
        rows.append([system["title"], *(f"{c['pss']:.0f} ({c['private']:.0f})" if c else "–" for c in cells)])
    text = (
        "MiB of proportional memory (PSS) with everything that belongs to the server, after clips of 5 s and 30 "
        "s, and in brackets what is private and written. What knows no workers was started so many times.\n\n"
    )
    return text + setups(facts) + "\n" + table(("server", *(f"{count} workers" for count in counts)), rows)


def idle(section: dict[str, Any]) -> str:
    rows = []
    for system in section["systems"].values():
        if "rss" in system:
            rows.append(
                [
                    system["title"],
                    f"{system['rss'] * 2**20 / 1e6:.1f} / {system['pss'] * 2**20 / 1e6:.1f}",
                    f"{system['threads']}",
                    f"{system['cpu_ms_per_minute']:.1f}",
                    f"{system['switches_per_second']:.2f}",
                    f"{system['children_per_minute']:.1f}",
                ]
            )
    head = ("supervisor", "RSS / PSS, MB", "threads", "CPU, ms a minute", "wake-ups a second", "children a minute")
    text = (
        f"All at the same time for {section['seconds']:.0f} s, each with two children that are left alone. Only "
        "the supervisor is counted: CPU time with that of children it started meanwhile and waited for; wake-ups "
        "are voluntary context switches of all its threads.\n\n"
    )
    return text + setups(section["systems"]) + "\n" + table(head, rows)


def silence(section: dict[str, Any]) -> str:
    rows = []
    for share in section["shares"]:
        rounds = share["rounds"]
        rows.append(
            [
                f"{share['silence']:.0%}",
                *(sums.spread([r[way] for r in rounds]).text() for way in ("off", "silence")),
                sums.spread([r["silence"] / r["off"] for r in rounds]).text(),
            ]
        )
    head = ("silence in the clip", "`off`: CPU, s", "`silence`: CPU, s", "ratio")
    text = (
        f"`speech.trim` on clips of {section['clip_seconds']:.0f} s with one silence in the middle, by the form that "
        "came, on one thread. Half a second on each side of the silence is heard with the speech.\n\n"
    )
    return text + table(head, rows)


def rotation(section: dict[str, Any]) -> str:
    rows = []
    for system in section["systems"].values():
        rounds = system["rounds"]
        if not rounds:
            rows.append([system["title"], system.get("missing", ""), "–", "–", "–"])
            continue
        lines, lost = sum(r["lines"] for r in rounds), sum(r["lost"] for r in rounds)
        rows.append(
            [
                system["title"],
                f"{sums.spread([r['lines_per_second'] / 1000 for r in rounds]).text(0)} k",
                f"{lost} ({lost / lines:.2%})" if lines else "–",
                f"{sum(r['doubled_or_torn'] for r in rounds)}",
                f"{sum(r['rotations'] for r in rounds)}",
            ]
        )
    head = ("way", "lines/s", "lines lost", "doubled or torn", "rotations")
    version = section.get("versions", {}).get("logrotate", "")
    text = (
        f"{section['writers']} processes write as fast as they can; the file is rotated every"
        f" {section['every_seconds'] * 1000:.0f} ms, or by the writers when it has 1 MB."
        f"{f' logrotate {version}.' if version else ''}\n\n"
    )
    return text + table(head, rows)


def sweep(section: dict[str, Any]) -> str:
    names = {"ours": "modelward", "find": "`find -delete`", "systemd-tmpfiles": "systemd-tmpfiles"}
    rows = []
    for name, title in names.items():
        found = [r[name] for r in section["rounds"] if name in r]
        if found:
            rows.append(
                [
                    title,
                    sums.spread([f["cpu_seconds"] for f in found]).text(),
                    sums.spread([f["wall_seconds"] for f in found]).text(),
                    f"{max(f['stall_milliseconds'] for f in found):.0f}" if name == "ours" else "",
                ]
            )
    head = ("", "CPU, s", "wall, s", "longest stall of the daemon's loop, ms")
    planned = section["planning"]
    return (
        f"{section['files']:,} files, half of them a month old; what is older than a week goes. Ours plans first, "
        "says of each file why it goes or stays, and looks at it again just before.\n\n"
        + table(head, rows)
        + f"\nPlanning {planned['entries']:,} entries takes {planned['peak_bytes_an_entry']:.0f} bytes each and"
        f" {planned['plan_cpu_seconds']:.2f} s of CPU.\n"
    )
