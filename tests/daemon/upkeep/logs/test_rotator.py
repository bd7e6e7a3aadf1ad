"""Rotation on real directories: every line kept, everything refused that is not plainly a log."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import threading
from pathlib import Path

import pytest
import zstandard
from tests.daemon.upkeep.clocks import HandClock
from tests.faults import READING, Faults, dies_in_a_child

from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet, RotationOutcome
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.daemon.upkeep.logs.rotator import Rotator

STAMP = "20260102T120000.000000Z"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    found = tmp_path / "logs"
    found.mkdir(mode=0o750)
    return found


def sets(logs: Path, *patterns: str, own: bool = True, **policy: object) -> list[LogSet]:
    given = {"method": "reopen", "max_size_bytes": 10} | policy
    return [LogSet(str(logs), patterns or ("a.log",), RotationPolicy(**given), own=own)]  # type: ignore[arg-type]


def rotator(clock: HandClock | None = None, files: FileSystemPort | None = None) -> Rotator:
    return Rotator(files or FileSystemPort(), clock or HandClock(), threading.Event())


def did(outcome: RotationOutcome) -> list[tuple[str, str]]:
    return [(step.action, Path(step.path).name) for step in outcome.steps]


def names(logs: Path) -> list[str]:
    return sorted(p.name for p in logs.iterdir())


def test_each_log_of_a_set_is_rotated_kept_and_compressed_by_its_own_policy(logs: Path) -> None:
    common = RotationPolicy(max_size_bytes=100, keep=3)
    own = {"b.log": RotationPolicy(max_size_bytes=10, keep=1, compress="none")}
    both = [LogSet(str(logs), ("a.log", "b.log"), common, own=True, policies=own)]
    works = rotator()
    for _ in range(2):
        for name in ("a.log", "b.log"):
            (logs / name).write_text("x" * 49 + "\n")
        assert not works.rotate(both).trouble
        assert not works.compress(both, reopened=True).trouble
    (logs / "a.log").write_text("x" * 200)
    works.rotate(both)
    works.compress(both, reopened=True)
    archives = {name: [p.suffix for p in logs.glob(f"{name}.*")] for name in ("a.log", "b.log")}
    assert archives["a.log"] == [".gz"] and len(archives["b.log"]) == 1 and archives["b.log"] != [".gz"]


def test_a_file_over_its_size_is_renamed_and_a_new_one_like_it_is_there(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n")
    (logs / "a.log").chmod(0o640)
    outcome = rotator().rotate(sets(logs))
    assert names(logs) == ["a.log", f"a.log.{STAMP}"]
    assert (logs / "a.log").stat().st_size == 0
    assert stat.S_IMODE((logs / "a.log").stat().st_mode) == 0o640
    assert outcome.tell_writers


@pytest.mark.parametrize("ending", [".zst", ".gz"])
def test_garbage_beside_the_archive_that_it_has_the_name_of_stops_nothing_and_costs_nothing(
    logs: Path, ending: str
) -> None:
    (logs / "a.log").write_text("0123456789\n")
    (logs / f"a.log.{STAMP}").write_text("lines\n" * 100)
    (logs / f"a.log.{STAMP}{ending}").write_bytes(b"no archive at all")
    given = sets(logs, compress="zstd")
    for outcome in (rotator().tidy(given), rotator().compress(given, reopened=True)):
        assert outcome.trouble == [
            f"cannot settle {logs}/a.log.{STAMP} and a.log.{STAMP}{ending}: they differ; both were kept"
        ]
    assert (logs / f"a.log.{STAMP}").read_text() == "lines\n" * 100
    assert (logs / f"a.log.{STAMP}{ending}").read_bytes() == b"no archive at all"


def test_a_file_under_its_size_is_left_and_nobody_is_told(logs: Path) -> None:
    (logs / "a.log").write_text("012\n")
    outcome = rotator().rotate(sets(logs))
    assert did(outcome) == [("spared", "a.log")]
    assert not outcome.tell_writers


def test_missing_and_empty_files_and_missing_directories_are_no_error(logs: Path) -> None:
    (logs / "a.log").touch()
    outcome = rotator().rotate([*sets(logs, "a.log", "b.log"), *sets(logs / "nowhere")], force=True)
    assert [step.because for step in outcome.steps] == ["empty", "no such file", "no such directory yet"]
    assert not outcome.trouble


def test_a_dry_run_says_what_would_happen_and_does_nothing(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n")
    for second in range(3):
        (logs / f"a.log.20250101T00000{second}.000000Z").write_text("old, and long\n")
    outcome = rotator().rotate(sets(logs, keep=2), dry_run=True)
    assert did(outcome) == [("rotated", "a.log"), ("dropped", "a.log.20250101T000000.000000Z")]
    assert len(names(logs)) == 4


def test_one_file_can_be_asked_for_and_an_unknown_one_is_said(logs: Path) -> None:
    for name in ("a.log", "b.log"):
        (logs / name).write_text("0123456789\n")
    rotator().rotate(sets(logs, "*.log"), force=True, only=str(logs / "b.log"))
    assert names(logs) == ["a.log", "b.log", f"b.log.{STAMP}"]
    outcome = rotator().rotate(sets(logs), only="/etc/passwd")
    assert outcome.trouble == ["cannot rotate /etc/passwd: it is not among the files that are rotated here"]


def test_archive_names_that_exist_are_never_overwritten_even_when_the_clock_goes_back(logs: Path) -> None:
    clock = HandClock()
    for turn in range(4):
        (logs / "a.log").write_text(f"turn {turn} 0123456789\n")
        rotator(clock).rotate(sets(logs))
        clock.step(-3600)
    archives = [name for name in names(logs) if name != "a.log"]
    assert len(archives) == 4
    assert [(logs / name).read_text()[:6] for name in archives] == [f"turn {turn}" for turn in range(4)]


def test_compressing_waits_for_the_answers_of_our_own_writers(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n")
    rotator().rotate(sets(logs))
    rotator().compress(sets(logs), reopened=False)
    assert names(logs) == ["a.log", f"a.log.{STAMP}"]
    rotator().compress(sets(logs), reopened=True)
    assert names(logs) == ["a.log", f"a.log.{STAMP}.gz"]


def test_an_archive_keeps_its_lines_its_mode_and_its_time(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n" * 100_000)
    (logs / "a.log").chmod(0o640)
    os.utime(logs / "a.log", (1_700_000_000, 1_700_000_000))
    rotator().rotate(sets(logs))
    rotator().compress(sets(logs), reopened=True)
    packed = logs / f"a.log.{STAMP}.gz"
    assert gzip.decompress(packed.read_bytes()) == b"0123456789\n" * 100_000
    assert packed.stat().st_mtime == 1_700_000_000
    assert stat.S_IMODE(packed.stat().st_mode) == 0o640


def test_an_archive_that_somebody_still_writes_to_is_not_compressed(logs: Path) -> None:
    with open(logs / "a.log", "ab", buffering=0) as writer:
        writer.write(b"0123456789\n")
        rotator().rotate(sets(logs))
        outcome = rotator().compress(sets(logs), reopened=True)
        assert [step.because for step in outcome.steps] == ["a process still has it open for writing"]
        writer.write(b"late\n")
    rotator().compress(sets(logs), reopened=True)
    assert gzip.decompress((logs / f"a.log.{STAMP}.gz").read_bytes()) == b"0123456789\nlate\n"


def test_a_reader_of_an_archive_does_not_keep_it_from_being_compressed(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n")
    rotator().rotate(sets(logs))
    with open(logs / f"a.log.{STAMP}"):
        rotator().compress(sets(logs), reopened=True)
    assert names(logs) == ["a.log", f"a.log.{STAMP}.gz"]


def test_an_archive_is_compressed_by_zstd_where_that_is_asked_for(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n")
    given = sets(logs, compress="zstd")
    rotator().rotate(given)
    rotator().compress(given, reopened=True)
    assert names(logs) == ["a.log", f"a.log.{STAMP}.zst"]
    with zstandard.open(logs / f"a.log.{STAMP}.zst", "rb") as archive:
        assert archive.read() == b"0123456789\n"


def test_the_live_file_and_foreign_files_are_never_dropped(logs: Path) -> None:
    (logs / "a.log").write_text("x" * 1000)
    for name in ("a.log.1.gz", "b.log.20250101T000000.000000Z", "notes"):
        (logs / name).write_text("x" * 1000)
    rotator().rotate(sets(logs, max_total_bytes=1, keep=1, max_size_bytes=0))
    assert names(logs) == ["a.log", "a.log.1.gz", "b.log.20250101T000000.000000Z", "notes"]


# Refusals (55)


def test_a_directory_that_anybody_may_write_to_is_refused_untouched(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n")
    logs.chmod(0o1777)
    outcome = rotator().rotate(sets(logs), force=True)
    assert outcome.trouble == [f"cannot rotate in {logs}: every user may write to it; nothing was touched"]
    assert names(logs) == ["a.log"]


@pytest.mark.parametrize("method", ["reopen", "rename", "collapse"])
@pytest.mark.parametrize("kind", ["symlink", "hard link", "FIFO", "directory"])
def test_what_is_no_plain_file_of_one_name_is_refused_untouched_and_without_hanging(
    logs: Path, kind: str, method: str
) -> None:
    victim = logs.parent / "passwd"
    victim.write_text("root\n" * 10_000)
    target = logs / "a.log"
    {
        "symlink": lambda: target.symlink_to(victim),
        "hard link": lambda: os.link(victim, target),
        "FIFO": lambda: os.mkfifo(target),
        "directory": lambda: target.mkdir(),
    }[kind]()
    outcome = rotator().rotate(sets(logs, method=method), force=True)
    assert outcome.trouble[0].startswith(f"cannot rotate {target}: ")
    assert "nothing was touched" in outcome.trouble[0]
    assert names(logs) == ["a.log"]
    assert victim.read_text() == "root\n" * 10_000


def test_a_log_directory_that_is_a_link_is_refused(logs: Path) -> None:
    (logs.parent / "link").symlink_to(logs)
    outcome = rotator().rotate(sets(logs.parent / "link"))
    assert "is a link" in outcome.trouble[0]


# Errors and crashes (52, 53, 54)


def lines_of(logs: Path) -> list[str]:
    found = [p for p in sorted(logs.iterdir()) if p.name != "a.log"]
    texts = [gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in found]
    live = logs / "a.log"
    return b"".join([*texts, live.read_bytes() if live.exists() else b""]).decode().split()


def write(logs: Path, turn: int) -> list[str]:
    lines = [f"{turn:03d}-{i:03d}" for i in range(50)]
    with open(logs / "a.log", "a") as log:
        log.write("".join(f"{line}\n" for line in lines))
    return lines


def test_a_crash_at_any_call_of_rotating_and_compressing_leaves_every_line_once(logs: Path) -> None:
    expected: list[str] = []
    died, at = True, 0

    def cycle(files: FileSystemPort) -> None:
        ours = rotator(HandClock(), files)
        ours.tidy(sets(logs))
        ours.rotate(sets(logs))
        ours.compress(sets(logs), reopened=True)

    while died:
        at += 1
        expected += write(logs, at)
        died = dies_in_a_child(cycle, at)
        rotator().tidy(sets(logs))
        assert lines_of(logs) == expected, f"after dying at call {at}"
        assert not [name for name in names(logs) if name.endswith(".part")]
        for p in list(logs.iterdir())[:-3]:  # keep the number of calls of a cycle small
            if p.name.endswith(".gz") and len(names(logs)) > 4:
                lost = gzip.decompress(p.read_bytes()).decode().split()
                expected = [line for line in expected if line not in set(lost)]
                p.unlink()
    assert at > 25


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EROFS])
def test_an_error_at_any_writing_call_loses_no_line_and_heals_by_itself(logs: Path, number: int) -> None:
    only = frozenset(f for f in FileSystemPort.__slots__ if f not in READING)
    expected: list[str] = []
    reached, at = True, 0
    while reached:
        at += 1
        expected += write(logs, at)
        faults = Faults(at, OSError(number, os.strerror(number)), only)
        ours = rotator(HandClock(), faults.files)
        ours.rotate(sets(logs))
        ours.compress(sets(logs), reopened=True)
        reached = faults.reached
        assert set(lines_of(logs)) == set(expected), f"{os.strerror(number)} at call {at}"
        rotator().rotate(sets(logs))
        rotator().compress(sets(logs), reopened=True)
        assert lines_of(logs) == expected, f"{os.strerror(number)} at call {at}, then healed"
        assert not [name for name in names(logs) if not name.endswith(".gz") and name != "a.log"]
    assert at > 8


def test_a_disk_that_is_full_at_any_call_costs_at_most_the_oldest_archives(logs: Path) -> None:
    only = frozenset(f for f in FileSystemPort.__slots__ if f not in READING)
    expected: list[str] = []
    reached, at = True, 0
    while reached:
        at += 1
        expected += write(logs, at)
        faults = Faults(at, OSError(errno.ENOSPC, "No space left on device"), only)
        ours = rotator(HandClock(), faults.files)
        ours.rotate(sets(logs))
        ours.compress(sets(logs), reopened=True)
        reached = faults.reached
        rotator().rotate(sets(logs))
        rotator().compress(sets(logs), reopened=True)
        left = lines_of(logs)
        assert left == expected[-len(left) :], f"at call {at}"
        assert len(left) >= min(100, len(expected)), "the newest two archives stay"
    assert at > 8


def test_when_renaming_is_not_allowed_writing_goes_on_and_it_is_said(logs: Path) -> None:
    write(logs, 0)
    denied = Faults(1, PermissionError(errno.EACCES, "Permission denied"), frozenset({"rename_noreplace"}))
    outcome = rotator(files=denied.files).rotate(sets(logs))
    assert outcome.trouble == [f"cannot rotate {logs}/a.log: Permission denied; writing goes on to the old file"]
    assert names(logs) == ["a.log"]


def test_a_full_disk_costs_the_oldest_archive_and_the_rotation_is_done(logs: Path) -> None:
    for second in range(4):
        (logs / f"a.log.20250101T00000{second}.000000Z.gz").write_bytes(gzip.compress(b"old\n"))
    write(logs, 0)
    full = Faults(1, OSError(errno.ENOSPC, "No space left on device"), frozenset({"rename_noreplace"}))
    outcome = rotator(files=full.files).rotate(sets(logs))
    assert did(outcome) == [("dropped", "a.log.20250101T000000.000000Z.gz"), ("rotated", "a.log")]
    assert not outcome.trouble


def test_what_a_crash_left_half_written_is_cleaned_at_start_and_nothing_else_is(logs: Path) -> None:
    for name in (f"a.log.{STAMP}.gz.part", "upload.part", f"foreign.log.{STAMP}.gz.part"):
        (logs / name).write_text("half")
    outcome = rotator().tidy(sets(logs))
    assert did(outcome) == [("cleaned", f"a.log.{STAMP}.gz.part")]
    assert names(logs) == [f"foreign.log.{STAMP}.gz.part", "upload.part"]


def test_two_rotations_at_once_the_second_leaves_the_directory_alone(logs: Path) -> None:
    import fcntl

    write(logs, 0)
    fd = os.open(logs, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    outcome = rotator().rotate(sets(logs), force=True)
    os.close(fd)
    assert [step.because for step in outcome.steps] == ["locked by another process"]
    assert names(logs) == ["a.log"]


def test_collapse_says_where_the_file_system_cannot_and_truncates_only_when_configured(logs: Path) -> None:
    (logs / "a.log").write_text("0123456789\n" * 1000)
    cannot = Faults(1, OSError(errno.EOPNOTSUPP, "no"), frozenset({"collapse_head"}), lasting=True)
    outcome = rotator(files=cannot.files).rotate(sets(logs, method="collapse"))
    assert outcome.trouble == [
        f"cannot collapse {logs}/a.log: the file system cannot collapse a file (ext4 and XFS can); it keeps growing"
    ]
    assert names(logs) == ["a.log"]
    allowed = sets(logs, method="collapse", truncate_if_unsupported=True)
    assert not rotator(files=cannot.files).rotate(allowed).trouble
    assert (logs / "a.log").stat().st_size == 0
    assert (logs / f"a.log.{STAMP}").read_text() == "0123456789\n" * 1000
