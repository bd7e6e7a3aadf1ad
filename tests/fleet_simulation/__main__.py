"""`python -m tests.fleet_simulation --boxes 100000 --seed 1`: the story, and its work as figures of the number."""

from __future__ import annotations

import argparse
import resource
import sys
import time

from tests.fleet_simulation.story import BYTES, START, record, tell
from tests.fleet_simulation.world import POLL_SECONDS, Fleet

from modelward.daemon.fleet.record import encode
from modelward.daemon.fleet.reports import encode_report
from modelward.daemon.fleet.waves import next_step


def main() -> int:
    """0 when no promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet_simulation")
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.process_time()
    fleet = tell(args.boxes, args.seed)
    seconds = time.process_time() - began
    for line in figures(fleet):
        print(line)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{seconds:.1f} s of processor time, {memory} MiB of memory")
    broken = fleet.check_end()
    for sentence in broken[:20]:
        print(f"broken: {sentence}", file=sys.stderr)
    return 1 if broken else 0


def figures(fleet: Fleet) -> list[str]:
    """What happened, and what each machine costs a minute."""
    count, work = len(fleet.machines), fleet.work
    days = (fleet.now - START) / 86_400
    lines = [
        f"{count:,} machines, {days:.0f} days, {', '.join(f'{n:,} serve {v}' for v, n in fleet.serving().items())}"
    ]
    for at, sequence, wave in fleet.opened:
        lines.append(f"  record {sequence}: wave {wave} opened after {(at - START) / 3600:.1f} h")
    lines += [f"  halted: {because[:150]}" for because in fleet.halts]
    for version, got in work.bytes.items():
        lines.append(f"  {version}: {got / BYTES / count:.3f} times its size a machine from the server")
    report = len(encode_report(max((m.report for m in fleet.machines if m.report), key=lambda r: len(r.because))))
    wanted = len(encode(record(2, "v2", START)))
    began = time.process_time()
    assert fleet.progress is not None
    next_step(record(4, "v2", fleet.now), fleet.progress, fleet.received(), fleet.now)
    step = time.process_time() - began
    lines += [
        f"  a machine, in all: {work.plans / count:.1f} plans, {work.fetches / count:.2f} fetches, "
        f"{work.reports / count:.1f} new reports",
        f"server, a minute: {count:,} reads of the record ({count * wanted / 1e6:.2f} MB at most), {count:,} reports "
        f"({count * report / 1e6:.2f} MB), and as many read by the keeper: "
        f"{count / POLL_SECONDS:,.0f} reads and {count / POLL_SECONDS:,.0f} writes a second",
        f"keeper: {step * 1000:.1f} ms a step, {step / count * 1e6:.2f} µs a machine; {work.keeper_steps} steps in all",
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
