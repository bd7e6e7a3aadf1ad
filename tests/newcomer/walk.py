"""Types commands as a newcomer does, inside a bare Debian: standard library alone, for the Python that is there.

Reads steps as JSON on standard input and prints one line of JSON for each command: how long it took, and what it
printed. A command that stays in the foreground is interrupted once it printed `until`; with `first` what it says to try
is typed then, and it goes on until the last step. Ends with 1 at the first failure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

SECONDS = 900


def main() -> int:
    """The exit status."""
    staying: list[subprocess.Popen[str]] = []
    try:
        for step in json.load(sys.stdin):
            if not (staying_one := typed(step)):
                return 1
            if isinstance(staying_one, subprocess.Popen):
                staying.append(staying_one)
        return 0
    finally:
        for process in staying:
            os.killpg(process.pid, signal.SIGINT)
            print(json.dumps({"command": "Ctrl-C", "seconds": 0, "status": process.wait(60)}), flush=True)


def typed(step: dict[str, str]) -> subprocess.Popen[str] | bool:
    """False when it failed; a program that stays, as a process."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-eu", "-o", "pipefail", "-c", step["command"]],
        cwd=step["directory"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    if not step["until"]:
        printed = process.communicate(timeout=SECONDS)[0]
        report(step["command"], began, process.returncode, printed)
        return process.returncode == 0
    assert process.stdout is not None
    lines: list[str] = []
    first = ""
    for line in process.stdout:
        lines.append(line)
        print(json.dumps({"printed": line.rstrip(), "seconds": round(time.monotonic() - began, 1)}), flush=True)
        if step["until"] in "".join(lines[-2:]):
            first = line.strip() if line.startswith("  ") else first
            if first or not step["first"]:
                break
    else:
        report(step["command"], began, process.wait(), "".join(lines))
        return False
    report(step["command"], began, 0, "")
    if not first:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)  # of make, which counts an interrupt as a failure
        return True
    first = first.replace("RECORDING.wav", "~/work/clips/5551234.wav")
    answered = subprocess.run(["bash", "-c", first], capture_output=True, text=True, timeout=SECONDS)
    report(first, began, answered.returncode, answered.stdout + answered.stderr)
    return answered.returncode == 0 and process


def report(command: str, began: float, status: int, printed: str) -> None:
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"command": command, "seconds": seconds, "status": status, "output": printed[-4000:]}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
