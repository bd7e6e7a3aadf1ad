"""The file of the series: whole, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.daemon.health import series_file
from modelward.daemon.health.series import Series


@pytest.fixture
def written(tmp_path: Path) -> Path:
    series = Series(["a"], 10.0)
    for n in range(200):
        series.add(n * 10.0, {"a": float(n)})
    series_file.write(tmp_path / series_file.NAME, series.record())
    return tmp_path / series_file.NAME


def test_what_was_written_is_read(written: Path) -> None:
    again = Series(["a"], 10.0)
    again.take_up(series_file.read(written), 2000.0)
    assert again.answer("1h").series["a"] == [float(n) for n in range(200)]
    assert series_file.read(written.with_name("none")) == {}


def test_a_file_that_is_torn_changed_too_large_or_no_file_is_refused(written: Path) -> None:
    whole = written.read_bytes()
    for content in (
        b"",
        whole[:-1],
        whole[:40],
        whole[:-1] + bytes([whole[-1] ^ 1]),
        b"x" * (series_file.MAX_BYTES + 1),
    ):
        written.write_bytes(content)
        with pytest.raises(series_file.BadSeriesFile):
            series_file.read(written)
    written.unlink()
    written.mkdir()
    with pytest.raises(OSError, match="directory"):
        series_file.read(written)
