"""Log lines and log files of others: read at their end, followed, shown, named; and the lines that we write."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fakes.clock import FakeClock
from tests.fuzz.strategies import (
    JSON,
    ODD_TEXTS,
    altered_text,
    bytes_like,
    fuzzed,
)

from modelward.daemon.cli.render import clean
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs import collapse_marker
from modelward.daemon.upkeep.logs.follow import Follower
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet
from modelward.daemon.upkeep.logs.rotation_policy import (
    RotationPolicy,
    next_stamp,
    parse_archive,
    stamp_micros,
    stamp_seconds,
)
from modelward.daemon.upkeep.logs.rotator import Rotator
from modelward.daemon.upkeep.logs.tail import tail
from modelward.worker.shared.logs import LINE_BYTES, line_of

LINES = b'{"time":"2026-01-02T03:04:05Z","event":"x"}\n\x1b[31mred\x1b[0m\r\n<script>\n\xff\xfe\n\n' * 20
MARK = collapse_marker.write_mark(1_800_000_000_000_000, 4096, 200)


@fuzzed(120)
@given(bytes_like(LINES, MARK + LINES, LINES + b"x" * 200_000), st.integers(0, 60))
@example(b"\n" * 70_000 + b"last", 3)
@example(b"x" * 3_000_000, 5)
def test_the_end_of_any_file_is_shown(data: bytes, lines: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/x.log"
        Path(path).write_bytes(data)
        answer = tail(path, lines)
        found = answer.lines
        assert len(found) <= lines
        whole = [x for x in data.removesuffix(b"\n").split(b"\n") if x and collapse_marker.read_mark(x) is None]
        last = [x.decode(errors="replace") for x in whole][max(0, len(whole) - lines) :]
        assert answer.truncated or found == last
        follower = Follower(path, lines=lines)
        try:
            for line in follower.first:
                shown = clean(line.decode("utf-8", "replace"))
                assert shown.isprintable() and "\x1b" not in shown
            with open(path, "ab") as file:
                file.write(b"\nnew\n")
            assert follower.poll()[-1] == b"new"
        finally:
            follower.close()


@fuzzed(100)
@given(
    st.lists(st.sampled_from(("append", "truncate", "rename", "mark", "rewrite", "remove")), max_size=12),
    st.binary(max_size=40),
)
@example(["mark", "append", "truncate", "append"], b"x\n")
@example(["mark", "rewrite", "append"], b"y" * 40)
def test_following_survives_whatever_happens_to_the_file(events: list[str], data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.log"
        path.write_bytes(b"first\n")
        follower = Follower(str(path), lines=1)
        try:
            assert follower.first == [b"first"]
            for event in events:
                with contextlib.suppress(FileNotFoundError):
                    if event == "append":
                        with open(path, "ab") as file:
                            file.write(data)
                    elif event == "truncate":
                        os.truncate(path, 0)
                    elif event == "rename":
                        path.rename(f"{path}.1")
                        path.write_bytes(data)
                    elif event == "rewrite":
                        path.write_bytes(b"-" * 2 * len(MARK) + b"\n")
                    elif event == "mark":
                        path.write_bytes(MARK + data)
                    else:
                        path.unlink()
                assert all(b"\n" not in line for line in follower.poll())
        finally:
            follower.close()


@fuzzed(200)
@given(st.one_of(bytes_like(MARK), st.binary(max_size=300)))
def test_a_mark_is_only_what_we_wrote(head: bytes) -> None:
    found = collapse_marker.read_mark(head)
    if found is not None:
        number, taken = found
        assert 0 <= number < 2**64 and 0 <= taken < 2**64
        assert collapse_marker.read_mark(collapse_marker.write_mark(number, taken, len(MARK))) == found


NAMES = ("modelward.log.20260102T030405.123456Z", "a.20260102T030405.123456Z.gz", "x.20260102T030405.123456Z.zst.part")
BAD_STAMPS = (
    "99999999T999999.999999Z",
    "20260230T000000.000000Z",
    "00000000T000000.000000Z",
    "٢٠٢٦٠١٠٢T٠٣٠٤٠٥.٠٠٠٠٠٠Z",
)


@fuzzed(200)
@given(st.one_of(altered_text(*NAMES), st.sampled_from([f"x.log.{stamp}" for stamp in BAD_STAMPS]), ODD_TEXTS))
@example("x.log.99991231T235959.999999Z")
def test_an_archives_name_tells_its_time_or_is_none(name: str) -> None:
    found = parse_archive(name)
    if found is not None:
        live, stamp = found
        assert (
            name.startswith(f"{live}.{stamp}") and stamp_micros(stamp) == round(stamp_seconds(stamp) * 1e6, -1) or stamp
        )
        assert parse_archive(f"{live}.{next_stamp(1_800_000_000.0, [stamp])}") is not None
        assert next_stamp(1_800_000_000.0, [stamp]) > stamp


@fuzzed(60)
@given(
    st.lists(
        st.sampled_from(
            (*NAMES, *(f"x.log.{stamp}" for stamp in BAD_STAMPS), "x.log.99991231T235959.999999Z", "x.log.1")
        ),
        max_size=5,
    )
)
def test_rotation_goes_on_beside_any_names(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        for name in names:
            (Path(directory) / name).write_bytes(b"old\n")
        (Path(directory) / "x.log").write_bytes(b"line\n")
        rotator = Rotator(FileSystemPort(), FakeClock(), threading.Event())
        logs = [LogSet(directory, ("x.log",), RotationPolicy(method="rename", compress="none"))]
        rotator.tidy(logs)
        outcome = rotator.rotate(logs, force=True)
        assert not outcome.trouble, outcome
        held = b"".join(path.read_bytes() for path in Path(directory).iterdir() if path.name.startswith("x.log"))
        assert b"line\n" in held


@fuzzed(150)
@given(st.dictionaries(ODD_TEXTS, st.one_of(JSON, st.floats(), st.binary(max_size=9)), max_size=30))
@example({"event": "x" * 200_000})
@example({f"k{i}" * 100: "\ud800" * 2000 for i in range(30)})
def test_every_line_that_we_write_is_one_line_of_json(fields: dict[str, Any]) -> None:
    line = line_of(dict(fields))
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and len(line) <= LINE_BYTES
    assert isinstance(json.loads(line), dict)
