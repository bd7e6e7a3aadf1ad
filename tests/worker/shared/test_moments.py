"""One form of a moment is read, and it is written back."""

from __future__ import annotations

import pytest

from modelward.worker.shared.moments import moment, moment_text


def test_a_moment_is_read_and_written_back() -> None:
    assert moment("1970-01-02T00:00:01Z") == 86401
    assert moment_text(moment("2027-02-28T23:59:59Z") + 0.9) == "2027-02-28T23:59:59Z"


@pytest.mark.parametrize(
    "text", ["", "2027-01-01", "2027-01-01T00:00:00+00:00", "2027-01-01T00:00:00.5Z", "2027-02-29T00:00:00Z", "٢٠٢٧"]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        moment(text)
