"""A log directory that other programs use too: upkeep removes archives of our own logs there and nothing else."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.daemon.upkeep.clocks import HandClock
from tests.daemon.upkeep.sweeping import (
    DAY,
    LATER,
    make,
    names,
    of,
    orders,
    run,
    spared,
)
from tests.daemon.upkeep.test_service import configuration
from tests.examples import examples

from modelward.daemon.config.load import parse
from modelward.daemon.upkeep.disk import reasons
from modelward.daemon.upkeep.disk.quota import ClassRule, Margin
from modelward.daemon.upkeep.from_config import OWN_LOGS, rules
from modelward.daemon.upkeep.logs.rotation_policy import is_ours
from modelward.daemon.upkeep.service import Upkeep

ARCHIVE = "access.log.20250102T030405.123456Z"
THEIRS = ("audit.csv", "monitor.log", "webui.log.2026-11-20", "sub/other.txt", "access.log.1", ".trash/kept/thing.txt")
EVERYTHING = {"min_free": Margin(fraction=1.0), "target_free": Margin(fraction=1.0)}
WORDS = st.sampled_from(
    [*OWN_LOGS, "monitor.log", "access", ".log", ".", "-", "1", ".gz", ".zst", ".part", ".head", ".bak", "\n", " "]
    + ["20250102T030405.123456Z", "20259902T030405.123456Z", "20250102", ".20250102T030405.123456Z", "~", ".tmp", "Ä"]
)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("".join).filter(lambda name: name not in (".", "..", ".trash"))


def logs_rule(directory: Path, extra: str = "") -> ClassRule:
    text = f'[logs]\ndir = "{directory}"\n{extra}'
    return next(rule for rule in rules(parse(text, "test")) if rule.path == str(directory))


def independently_ours(name: str) -> bool:
    """The rule once more, written another way: a log of ours, a time of the calendar, at most what we put behind."""
    found = re.fullmatch(
        r"(modelward|access|error|debug)\.log\.(\d{8}T\d{6})\.\d{6}Z(\.gz|\.zst)?(\.part|\.head)?", name
    )
    if found is None:
        return False
    try:
        datetime.strptime(found[2] + "Z", "%Y%m%dT%H%M%S%z")
    except ValueError:
        return False
    return True


def test_a_full_disk_takes_no_file_of_another_program_out_of_the_log_directory(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    for name in (*THEIRS, *OWN_LOGS, ARCHIVE, f"{ARCHIVE}.gz"):
        make(root / name)
    outcome = run(orders([logs_rule(root)], **EVERYTHING))
    assert names(root) == sorted([*THEIRS, *OWN_LOGS])
    assert of(outcome).removed_files == 2
    assert spared(outcome, reasons.FOREIGN) == 6  # a directory counts once
    assert any(reasons._WORDS[reasons.FOREIGN] in sentence for sentence in outcome.trouble)


def test_a_class_over_the_log_directory_limits_our_archives_alone(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    for name in (*THEIRS, *OWN_LOGS):
        make(root / name, 1 << 20)
    make(root / ARCHIVE)
    make(root / f"{ARCHIVE}.gz", age_seconds=3600.0)
    limits = f'[[disk.class]]\nname = "logs"\npath = "{root}"\nmax_age = "1d"\nmax_bytes = "5MiB"\nmax_files = 6\n'
    outcome = run(orders([logs_rule(root, limits)]))
    assert names(root) == sorted([*THEIRS, *OWN_LOGS, f"{ARCHIVE}.gz"])
    assert not of(outcome).shortfall  # what others keep there counts against no limit of ours


@given(st.lists(NAMES, max_size=12, unique=True))
@settings(max_examples=examples(60))
def test_whatever_a_file_is_called_it_goes_only_if_it_is_an_archive_of_ours(found: list[str]) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        for name in found:
            make(root / name)
        run(orders([logs_rule(root, f'[[disk.class]]\nname="logs"\npath="{root}"\nmax_age="1d"\n')], **EVERYTHING))
        assert set(names(root)) == {name for name in found if not independently_ours(name)}
    for name in found:
        assert is_ours(name, OWN_LOGS) == (independently_ours(name) or name in OWN_LOGS)


def test_retention_and_rotation_leave_other_programs_files_too(tmp_path: Path) -> None:
    base = tmp_path / "house"
    root = base / "logs"
    for name in THEIRS:
        make(root / name)
    for directory in ("models", "state/tmp", "cache/compiled"):
        (base / directory).mkdir(parents=True)
    root.chmod(0o750)
    (root / "access.log").write_text("line\n" * 2000)
    config = configuration(base)
    config = config.model_copy(
        update={"logs": config.logs.model_copy(update={"max_age": DAY, "max_total": 1, "keep": 1, "extra": ()})}
    )
    upkeep = Upkeep(lambda: config, HandClock(wall=LATER + 60 * DAY))
    try:
        for _ in range(3):
            upkeep.tidy()
            upkeep.rotate(force=True)
            upkeep.compress(reopened=True)
            asyncio.run(upkeep.sweep())
    finally:
        upkeep.close()
    assert set(THEIRS) <= set(names(root))
