"""Measures modelward beside the others and writes it down: `python -m tests.bench [--only SECTION,…] [--quick]`.

Each section's figures go into docs/benchmarks.json under the kind of this processor and its name, with the machine and
the command; the page and the pictures are made from that file alone. Sections can be measured one at a time.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import facts, masking, page
from tests.bench.plan import Plan
from tests.bench.precision import FILE, SECTION
from tests.bench.render import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
SERVING = tuple(SECTION.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help=f"sections to measure, of {', '.join(SECTIONS)}; default all")
    parser.add_argument(
        "--quick", action="store_true", help="the small model and few rounds: shows that the bench works"
    )
    parser.add_argument("--clips", default="", help="of serving and no other, the clip lengths to measure, in seconds")
    parser.add_argument(
        "--long", action="store_const", dest="clips", const="600", help="the ten-minute clips: half of serving's time"
    )
    parser.add_argument("--peers", default="", help="of replacing, the servers to measure")
    parser.add_argument(
        "--prepare", action="store_true", help="make model, compiled versions and environments, no more"
    )
    parser.add_argument(
        "--as", dest="masked", choices=("avx2",), help="as on a processor without AVX-512, VNNI and AMX"
    )
    parser.add_argument("--take", type=Path, metavar="DIR", help="take figures of another machine, no more")
    parser.add_argument("--render", action="store_true", help="write the page from the figures that are there, no more")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp/modelward-bench"), help="what is kept between runs")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where figures, page and pictures go")
    options = parser.parse_args()
    if options.masked and not os.environ.get(facts.MASKED):
        masking.again()
    clips = tuple(float(value) for value in options.clips.split(",") if value)
    plan = Plan(options.dir, options.quick, clips, tuple(filter(None, options.peers.split(","))))
    if options.prepare:
        prepare(plan)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped then too
    results = page.load(options.docs)
    if options.take:
        page.take(results, page.load(options.take))
        page.save(options.docs, results)
    elif not options.render:
        wanted = [name for name in options.only.split(",") if name] or list(SERVING if clips else SECTIONS)
        for name in wanted:
            page.put(results, name, run(plan, name))
            page.save(options.docs, results)
    page.write(options.docs, results)


def run(plan: Plan, name: str) -> dict[str, Any]:
    """One section's figures, with what was measured where and how long it took."""
    section = importlib.import_module(f"tests.bench.sections.{name.replace('-', '_')}")
    busy, began = facts.busy(), time.monotonic()
    try:
        figures = section.measure(plan)
    finally:
        shutil.rmtree(plan.scratch, ignore_errors=True)
    took = round(time.monotonic() - began)
    print(f"{name}: {took} s", file=sys.stderr, flush=True)
    return {"machine": facts.machine(), "runs": [facts.run(took, busy)], **figures}


def prepare(plan: Plan) -> None:
    from tests.bench.clips import pool
    from tests.bench.peers import all_peers

    for precision in FILE:
        ours = plan.modelward(precision=precision)
        try:
            ours.start(pool(1.0)[0])
        finally:
            ours.stop()
    for peer in all_peers():
        made = plan.newest(peer)
        print(f"{peer.title}: {made.because or made.versions(peer.requirements)}")


if __name__ == "__main__":
    main()
