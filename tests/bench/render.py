"""The page of benchmarks, made from the figures alone. Pure: the same figures, the same page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.bench import tables
from tests.bench.aims import aims, causes
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
"""

SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    **{SECTION[one]: (f"Serving, {one}", partial(tables.serving, one)) for one in SECTION},
    "sharing": ("Two workers, four clients", tables.sharing),
    "replacing": ("Replacing the model under load", tables.replacing),
    "memory": ("Memory", tables.memory),
    "idle": ("What the daemon costs when nothing happens", tables.idle),
    "silence": ("Leaving out silence", tables.silence),
    "rotation": ("Rotating logs under load", tables.rotation),
    "sweep": ("Sweeping a directory", tables.sweep),
}


MET = {True: "yes", False: "**no**", None: "–"}


def page(results: dict[str, Any]) -> str:
    """The whole page; sections that were not measured are left out."""
    parts = [HEAD, aims_table(results)]
    number = 0
    for name, (title, body) in SECTIONS.items():
        if name in results:
            number += 1
            parts.append(f"## {number}. {title}\n\n{_measured(results[name])}\n{body(results[name])}")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def aims_table(results: dict[str, Any]) -> str:
    """What was aimed at beside what was measured, and why they differ."""
    found = aims(results)
    if not found:
        return ""
    rows = [(aim.what, aim.aim, aim.measured, MET[aim.met]) for aim in found]
    text = "## Aims\n\n" + tables.table(("", "aim", "measured", "met"), rows)
    why = causes(results, {aim.name for aim in found if aim.met is False})
    return text + "".join(f"\n- {cause}" for cause in why) + ("\n" if why else "")


def _measured(section: dict[str, Any]) -> str:
    m = section["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    flags = f" ({', '.join(m['flags'])})" if m["flags"] else ""
    runs = "; ".join(
        f"`{run['command']}`, {run['date']}, {run['took_seconds']} s, commit {run['commit'] or 'unknown'}"
        for run in section["runs"]
    )
    return (
        f"{m['processor']}{flags}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}, {m['libc']}, "
        f"Python {m['python']}; {versions}. Measured by {runs}.\n"
    )
