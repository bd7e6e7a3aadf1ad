"""The header Retry-After: a number, a date, or nothing that can be used."""

from __future__ import annotations

import pytest

from modelward.daemon.system.retry_after import retry_after

NOON = 1_727_395_200.0  # Fri, 27 Sep 2024 00:00:00 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0.0),
        ("30", 30.0),
        (" 0 ", 0.0),
        ("999999", 3600.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("٣", 0.0),
        ("9" * 400, 0.0),
        ("soon", 0.0),
        ("Fri, 27 Sep 2024 00:01:00 GMT", 60.0),
        ("Fri, 27 Sep 2024 09:00:00 GMT", 3600.0),
        ("Thu, 26 Sep 2024 00:00:00 GMT", 0.0),
        ("Fri, 99 Sep 9999 00:00:00 GMT", 0.0),
    ],
)
def test_is_read_within_limits(text: str, seconds: float) -> None:
    assert retry_after(text, NOON) == seconds
