"""The file of the series: whole, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import Struct

from modelward.daemon.health import series_file


class Record(Struct):
    """Something to keep."""

    rows: dict[str, bytes]


WRITTEN = Record({"a": bytes(range(256)) * 20})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    series_file.write(tmp_path / series_file.NAME, WRITTEN)
    return tmp_path / series_file.NAME


def test_what_was_written_is_read(written: Path) -> None:
    assert series_file.read(written, Record) == WRITTEN
    assert series_file.read(written.with_name("none"), Record) is None


def test_a_file_that_is_torn_changed_too_large_or_no_file_is_refused(written: Path) -> None:
    whole = written.read_bytes()
    changed, large = whole[:-1] + bytes([whole[-1] ^ 1]), b"x" * (series_file.MAX_BYTES + 1)
    for content in (b"", whole[:-1], whole[:40], changed, large):
        written.write_bytes(content)
        with pytest.raises(series_file.BadSeriesFile):
            series_file.read(written, Record)
    written.unlink()
    written.mkdir()
    with pytest.raises(OSError, match="directory"):
        series_file.read(written, Record)
