"""What counts as a token of a request, and what is for a proxy."""

from __future__ import annotations

import pytest

from modelward.worker.shared.sent_tokens import tokens_in


@pytest.mark.parametrize(
    ("authorization", "key", "tokens"),
    [
        (None, None, ()),
        ("Bearer a", None, ("a",)),
        ("bearer  a ", None, ("a",)),
        ("Basic dXNlcjpwYXNz", None, ()),
        ("Negotiate x", None, ()),
        ("a", None, ()),
        ("Bearer", None, ("",)),
        ("Basic dXNlcjpwYXNz", " a ", ("a",)),
        ("Bearer of-the-proxy", "a", ("of-the-proxy", "a")),
        (None, "", ("",)),
    ],
)
def test_credentials_for_a_proxy_are_no_token(
    authorization: str | None, key: str | None, tokens: tuple[str, ...]
) -> None:
    headers = {"authorization": authorization, "x-api-key": key}
    assert tokens_in({name: value for name, value in headers.items() if value is not None}) == tokens
