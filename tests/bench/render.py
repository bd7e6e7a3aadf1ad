"""The page of benchmarks, made from the figures alone. Pure: the same figures, the same page.

Each kind of processor has a column in the tables that sum up and a heading of its own below each section.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.bench import summaries, tables, work_tables
from tests.bench.aims import aims
from tests.bench.causes import causes
from tests.bench.kinds import KINDS, Results, in_order
from tests.bench.precision import SECTION

HEAD = """# Benchmarks

What modelward costs and what it gives, beside what people use for the same. `make bench` measures everything on this
page anew and writes it; a single section: `python -m tests.bench --only idle`. The page is made from
[benchmarks.json](benchmarks.json) and nothing else.

Everybody serves the same model: SenseVoice-small's graph with generated weights in its real sizes (234 M parameters,
taught to hear telephone keys), as the usual unsigned int8 file of 241 MB where nothing else is said; the same clips
from the same clients, each request on a connection of its own. Servers take turns within one run and ratios are taken
turn by turn. A figure is the median of its rounds, with the smallest and largest behind it. Clients run on the same
machine.

How fast 8-bit integers are multiplied depends on the processor, so every figure is of one kind of processor and has
its date and commit. A run replaces the figures of its own kind; those of the others stay until such a machine is
measured again. `python -m tests.bench --take DIR` adds the figures that another machine wrote into DIR.
"""

Body = Callable[[str, dict[str, Any]], str]
Summary = Callable[[dict[str, dict[str, Any]]], str]


def _alike(body: Callable[[dict[str, Any]], str]) -> Body:
    return lambda kind, section: body(section)


SECTIONS: dict[str, tuple[str, Body, Summary | None]] = {
    **{SECTION[one]: (f"Serving, {one}", partial(tables.serving, one), summaries.factors) for one in SECTION},
    "sharing": ("Two workers, four clients", tables.sharing, None),
    "replacing": ("Replacing the model under load", tables.replacing, summaries.swaps),
    "compiling": ("A new version, and its compilation", _alike(work_tables.compiling), None),
    "forms": ("What compiling gains", _alike(work_tables.forms), None),
    "memory": ("Memory", _alike(tables.memory), None),
    "idle": ("What the daemon costs when nothing happens", _alike(tables.idle), summaries.idle),
    "formats": ("Compressed audio", _alike(work_tables.formats), None),
    "front-ends": ("Features", _alike(work_tables.front_ends), None),
    "silence": ("Leaving out silence", _alike(tables.silence), None),
    "jobs": ("Long recordings as jobs", _alike(work_tables.jobs), None),
    "attacks": ("Good clips under attack", _alike(work_tables.attacks), None),
    "small-machine": ("Half a processor and 1 GiB", _alike(work_tables.small_machine), None),
    "rotation": ("Rotating logs under load", _alike(tables.rotation), None),
    "sweep": ("Sweeping a directory", _alike(tables.sweep), None),
    "fleet": ("A version to a fleet", _alike(work_tables.fleet), None),
    "image": ("The container image", _alike(work_tables.image), None),
}
BUSY = 1.5  # processes of others, from which on the page says so
BUSY_NOTE = """
† Other programs had the processors too, so times are longer and their ratios less certain; CPU times and memory hold.
"""
MET = {True: "", False: ", **missed**", None: ""}


def page(results: Results) -> str:
    """The whole page; sections that were not measured are left out."""
    parts = [HEAD, machines(results), aims_table(results)]
    number = 0
    for name, (title, body, summary) in SECTIONS.items():
        measured = {kind: results[kind][name] for kind in in_order(results) if name in results[kind]}
        if not measured:
            continue
        number += 1
        parts.append(f"## {number}. {title}\n")
        if summary is not None and len(measured) > 1:
            parts.append(summary({KINDS[kind]: section for kind, section in measured.items()}))
        for kind, section in measured.items():
            parts.append(f"### {title}: {KINDS[kind]}\n\n{_measured(section)}\n{body(kind, section)}")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def machines(results: Results) -> str:
    """What each kind's figures were measured on, and when."""
    rows = []
    for kind in in_order(results):
        for name, found in _machines(results[kind]).items():
            rows.append((KINDS[kind], name, ", ".join(sorted(found))))
    return "## Processors\n\n" + tables.table(("kind", "machine", "measured"), rows) if rows else ""


def _machines(sections: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for section in sections.values():
        m = section["machine"]
        masked = "; its newer features were masked, see below" if m.get("masked") else ""
        name = f"{_processor(m)}, {m['cores']} cores, {m['memory_gib']} GiB{masked}"
        found.setdefault(name, set()).update(
            f"{run['date']} (commit {run['commit'] or 'unknown'})" for run in section["runs"]
        )
    return found


MASKING = """
A masked machine answers CPUID without AVX-512, VNNI and AMX (`--as avx2`), so ONNX Runtime, numpy and sherpa-onnx take
their code for AVX2. Clock, caches and memory are those of the newer machine: the ratios of such a run count, its
seconds are not those of an old processor.
"""


def aims_table(results: Results) -> str:
    """What was aimed at beside what was measured on each kind, and why they differ."""
    kinds = in_order(results)
    found = {kind: aims(kind, results[kind]) for kind in kinds}
    lines: dict[tuple[str, str], dict[str, str]] = {}
    places: dict[tuple[str, str], int] = {}
    for kind, ours in found.items():
        for aim in ours:
            measured = aim.measured + MET[aim.met] + (" †" if _busy(results[kind][aim.section]) else "")
            lines.setdefault((aim.what, aim.aim), {})[kind] = measured
            places[aim.what, aim.aim] = list(SECTIONS).index(aim.section)
    if not lines:
        return ""
    rows = [(*line, *(lines[line].get(kind, "–") for kind in kinds)) for line in sorted(lines, key=places.__getitem__)]
    text = "## Aims\n\n" + tables.table(("", "aim", *(KINDS[kind] for kind in kinds)), rows)
    text += BUSY_NOTE if "†" in text else ""
    for kind in kinds:
        missed = {aim.name for aim in found[kind] if aim.met is False}
        why = causes(results[kind], missed)
        text += f"\n{KINDS[kind]}, what was missed:\n" if why else ""
        text += "".join(f"\n- {cause}" for cause in why) + ("\n" if why else "")
    masked = any(section["machine"].get("masked") for sections in results.values() for section in sections.values())
    return text + (MASKING if masked else "")


def _processor(machine: dict[str, Any]) -> str:
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    return f"{machine['processor']}{flags}"


def _busy(section: dict[str, Any]) -> bool:
    return any(run.get("busy_before", 0.0) >= BUSY for run in section["runs"])


def _beside(run: dict[str, Any]) -> str:
    """Said where other programs had the processors too: then times are longer, and ratios less certain."""
    busy = run.get("busy_before", 0.0)
    return f" (**on a busy machine**: {busy:.1f} other processes wanted a processor)" if busy >= BUSY else ""


def _measured(section: dict[str, Any]) -> str:
    m = section["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    masked = ", masked" if m.get("masked") else ""
    runs = "; ".join(
        f"`{run['command']}`, {run['date']}, {run['took_seconds']} s, commit {run['commit'] or 'unknown'}{_beside(run)}"
        for run in section["runs"]
    )
    return (
        f"{_processor(m)}{masked}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}, {m['libc']}, "
        f"Python {m['python']}; {versions}. Measured by {runs}.\n"
    )
