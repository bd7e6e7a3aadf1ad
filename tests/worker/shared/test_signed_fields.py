"""A trusted comment of ours is read completely or refused; any other means nothing."""

from __future__ import annotations

import pytest

from modelward.worker.shared.signed_fields import FLEET_MARK, BadFields, SignedFields, read_fields, write_fields


def test_what_is_written_is_read_back() -> None:
    comment = write_fields(7, "2027-01-01T00:00:00Z")
    assert comment == "modelward sequence=7 expires=2027-01-01T00:00:00Z"
    assert read_fields(comment) == SignedFields(7, "2027-01-01T00:00:00Z", 1798761600.0)
    assert read_fields(write_fields(1)) == SignedFields(1)


@pytest.mark.parametrize("comment", ["", "timestamp:1 file:SHA256SUMS", "modelward2 sequence=7", "for modelward"])
def test_a_comment_of_others_holds_nothing(comment: str) -> None:
    assert read_fields(comment) == SignedFields()


@pytest.mark.parametrize(
    "comment",
    [
        "modelward",
        "modelward sequence=0",
        "modelward sequence=07",
        "modelward sequence=9007199254740992",
        "modelward sequence=7 sequence=8",
        "modelward sequence=7 only=gpu",
        "modelward sequence=7 expires=soon",
        "modelward expires=2027-01-01T00:00:00Z",
        FLEET_MARK,
    ],
)
def test_one_of_ours_that_cannot_be_read_is_refused(comment: str) -> None:
    with pytest.raises(BadFields):
        read_fields(comment)
