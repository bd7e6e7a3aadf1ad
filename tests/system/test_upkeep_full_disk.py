"""A log disk that is full, read-only or gone, and rotation by others: nobody stops, nothing storms, all recovers."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.namespaces import in_private_mounts
from tests.writers import (
    NO_LOSSES,
    Writer,
    losses,
    read_all,
)

pytestmark = pytest.mark.system

FULL = """
import gzip, json, os, subprocess, sys, threading
from pathlib import Path
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet
from modelward.daemon.upkeep.logs.rotator import Rotator
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.worker.shared.logs import LogFiles
base = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=750", "none", base], check=True)
logs = LogFiles(str(base), worker="w0")
names = ("modelward.log", "access.log", "error.log")
sets = [LogSet(str(base), names, RotationPolicy(max_size_bytes=200_000, method="reopen"), own=True)]
rotator = Rotator(FileSystemPort(), SystemClock(), threading.Event())
troubles = []
def turn():
    outcome = rotator.rotate(sets)
    if outcome.tell_writers:
        logs.reopen()
    done = rotator.compress(sets, reopened=True)
    troubles.extend(outcome.trouble + done.trouble)
for i in range(20_000):          # some of it compresses badly on purpose
    logs.access(number=i, noise=os.urandom(60).hex())
    if not i % 500:
        turn()
archives = sorted(p.name for p in base.iterdir() if p.name.startswith("access.log."))
assert len(archives) >= 2, archives
ballast = base / "ballast"
with open(ballast, "wb", buffering=0) as f:          # now the disk is full to the last byte
    try:
        while True:
            f.write(bytes(65536))
    except OSError:
        pass
for i in range(9000):
    logs.access(number=100_000 + i, noise="x" * 400)
    if not i % 100:
        turn()
for i in range(5000):                                # and nobody makes room any more
    logs.access(number=150_000 + i, noise=os.urandom(300).hex())
dropped_archives = [a for a in archives if not (base / a).exists()]
ballast.unlink()
for i in range(1000):
    logs.access(number=200_000 + i, noise="")
turn()
found = []
for p in sorted(base.iterdir(), key=lambda p: (p.name == "access.log", p.name)):
    if p.name.startswith("access.log"):
        assert not p.name.endswith(".part"), p
        data = p.read_bytes()
        found += (gzip.decompress(data) if p.name.endswith(".gz") else data).splitlines()
parsed, torn = [], 0
for line in found:
    if not line: continue
    try: parsed.append(json.loads(line))
    except ValueError: torn += 1
notes = [p["event"] for p in parsed if "event" in p and p["event"].startswith("dropped ")]
numbers = [p["number"] for p in parsed if "number" in p]
last = [n for n in numbers if n >= 200_000]
dropped = sum(int(n.split()[1]) for n in notes)
middle = len([n for n in numbers if 100_000 <= n < 200_000])
print("archives given up:", len(dropped_archives), "dropped and counted:", dropped, "kept:", middle, "torn:", torn)
assert last == list(range(200_000, 201_000)), "it recovers by itself"
assert numbers == sorted(set(numbers)), "in order, none doubled"
assert torn <= 60
assert dropped_archives == archives[: len(dropped_archives)] and dropped_archives, "the oldest went"
assert middle >= 9000, "the space of the archives was used"
assert middle + dropped == 14_000 and dropped > 1000, "every dropped line is counted"
assert not troubles or all("No space left" in t for t in troubles), troubles
"""


def test_a_full_disk_costs_old_archives_and_counted_lines_and_recovers_by_itself(tmp_path: Path) -> None:
    said = in_private_mounts(FULL, str(tmp_path))
    print(said)
    assert "archives given up" in said


READ_ONLY = """
import os, subprocess, sys, threading
from pathlib import Path
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet
from modelward.daemon.upkeep.logs.rotator import Rotator
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.worker.shared.logs import LogFile
base = Path(sys.argv[1]) / "logs"
base.mkdir(mode=0o750)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=750", "none", base], check=True)
log = LogFile(base / "a.log")
sets = [LogSet(str(base), ("a.log",), RotationPolicy(method="reopen"), own=True)]
rotator = Rotator(FileSystemPort(), SystemClock(), threading.Event())
log.write(b"before\\n")
log.reopen()
os.close(log._fd); log._fd = os.open("/dev/null", os.O_WRONLY)   # nobody may write while it is remounted
subprocess.run(["mount", "-o", "remount,ro", base], check=True)
outcome = rotator.rotate(sets, force=True)
said = f"cannot rotate {base}/a.log: Read-only file system; writing goes on to the old file"
assert outcome.trouble == [said], outcome
log.reopen()
log.write(b"lost\\n")
assert log.dropped == 1
subprocess.run(["mount", "-o", "remount,rw", base], check=True)
log.reopen()
log.write(b"after\\n")
outcome = rotator.rotate(sets, force=True)
assert not outcome.trouble
(archive,) = [p for p in base.iterdir() if p.name != "a.log"]
lines = archive.read_text().splitlines()
assert lines[0] == "before" and lines[-1] == "after" and "dropped 1 lines" in lines[1], lines
subprocess.run(["umount", "-l", base], check=True)
base.rmdir()
outcome = rotator.rotate(sets, force=True)
assert [step.because for step in outcome.steps] == ["no such directory yet"] and not outcome.trouble
base.mkdir(mode=0o750)
log.reopen(); log.write(b"again\\n")
assert rotator.rotate(sets, force=True).steps[0].action == "rotated"
print("done")
"""


def test_a_read_only_or_deleted_log_directory_is_said_and_healed(tmp_path: Path) -> None:
    assert in_private_mounts(READ_ONLY, str(tmp_path)).endswith("done\n")


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
@pytest.mark.parametrize("signalled", [True, False])
def test_external_logrotate_that_renames_loses_no_line_with_or_without_a_signal(
    tmp_path: Path, signalled: bool
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    config = tmp_path / "logrotate.conf"
    config.write_text(
        f'"{logs}/app.log" {{\n rotate 10000\n size 1\n nocompress\n create 0640\n'
        " dateext\n dateformat .%s\n missingok\n}\n"
    )
    config.chmod(0o644)
    writers = [Writer(logs / "app.log", n, 1.5) for n in range(3)]
    for writer in writers:
        writer.go()
    turn = 0
    while any(writer.running() for writer in writers):
        time.sleep(0.1)
        turn += 1
        command = ["logrotate", "-f", "-s", str(tmp_path / "state"), str(config)]
        subprocess.run(command, check=False, capture_output=True)
        for writer in writers:
            if signalled and writer.running():
                writer.process.send_signal(signal.SIGUSR1)
        for made in logs.glob("app.log.1*"):
            made.rename(logs / f"app.log.{turn:05d}")
    wrote = {writer.number: writer.wrote() for writer in writers}
    assert losses(read_all(logs, "app.log"), wrote) == NO_LOSSES
    assert turn > 3
