"""The path below a base path; and what can be one, so that a header can never lead elsewhere."""

from __future__ import annotations

import pytest

from modelward.daemon.api.app import ROUTES as ADMIN_ROUTES
from modelward.daemon.panel.middleware import OPEN_PATHS
from modelward.worker.http.app import ROUTES as SERVICE_ROUTES
from modelward.worker.http.speech_sessions import PATHS
from modelward.worker.shared.base_path import ROUTES, below, check_base_path, prefix_in


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/asr", ("/", True)),
        ("/asr/", ("/", True)),
        ("/asr/v1/models", ("/v1/models", True)),
        ("/asr//health", ("//health", True)),
        ("/asr/asr/health", ("/asr/health", True)),
        ("//asr/v1/models", ("//v1/models", True)),
        ("//asr", ("//asr", False)),
        ("//asrx/", ("//asrx/", False)),
        ("/asrx", ("/asrx", False)),
        ("/health", ("/health", False)),
        ("/", ("/", False)),
    ],
)
def test_both_the_whole_path_and_the_one_without_the_base_path_are_meant(path: str, meant: tuple[str, bool]) -> None:
    assert below(path, "/asr") == meant
    assert below(path, "") == (path, False)


@pytest.mark.parametrize(
    "header",
    ["//evil.example", "/a//b", "/..", "/a/../b", "/.", "https://evil.example/a", "asr", "/a b", "/a\r\nX: y", "/a;b",
     "/%2e", "/" + "a" * 300, "/ä", "\\evil", "/a\\b", ""],
)  # fmt: skip
def test_a_prefix_is_never_more_than_a_plain_path(header: str) -> None:
    assert prefix_in(header) == ""
    if header.rstrip("/"):
        with pytest.raises(ValueError, match="a path of letters"):
            check_base_path(header)


def test_no_base_path_begins_like_a_route() -> None:
    paths = [*OPEN_PATHS, *PATHS, "/live", *(path for _, path, _, _ in ADMIN_ROUTES), *(r.path for r in SERVICE_ROUTES)]
    assert {path.split("/")[1] for path in paths} - {""} == ROUTES
    for first in ROUTES:
        with pytest.raises(ValueError, match="another word"):
            check_base_path(f"/{first}/asr")
    assert [check_base_path(text) for text in ("", "/", "/asr/", "/a/b.c~d")] == ["", "", "/asr", "/a/b.c~d"]
